"""What CUDA's errors mean to a user, and what to do about them."""

from __future__ import annotations

from nd_deploy.bundle.files import readable_size
from nd_deploy.errors import BackendError

_LOST = (
    "the GPU's state is lost: start a new process; if it happens again with a plugin library, "
    "build that library again"
)
_CAPTURE = "run it without CUDA graphs: something in the engine cannot be captured"

_REMEDIES = {
    "cudaErrorNoDevice": "run on a machine with an NVIDIA GPU, and check CUDA_VISIBLE_DEVICES",
    "cudaErrorInsufficientDriver": "install or update the NVIDIA driver, or install a CUDA package "
    "that is as old as the driver",
    "cudaErrorInvalidDevice": "'nd-deploy doctor' lists the GPUs that are there",
    "cudaErrorDevicesUnavailable": "another process holds the GPU for itself: wait for it to end",
    "cudaErrorNoKernelImageForDevice": "build the plugin library for this GPU's compute capability",
    "cudaErrorIllegalAddress": _LOST,
    "cudaErrorMisalignedAddress": _LOST,
    "cudaErrorLaunchFailure": _LOST,
    "cudaErrorLaunchTimeout": _LOST,
    "cudaErrorAssert": _LOST,
}


def failure(task: str, name: str, text: str) -> BackendError:
    """The error of a CUDA call.

    Args:
        task: what was tried, such as "copy to the GPU".
        name: the error's, such as "cudaErrorNoDevice".
        text: the error's own words.
    """
    default = "'nd-deploy doctor' shows which GPU, driver and packages are there"
    remedy = _CAPTURE if "StreamCapture" in name else _REMEDIES.get(name, default)
    return BackendError(f"CUDA failed to {task}: {name}: {text}", remedy)


def out_of_memory(asked: int, free: int, total: int, purpose: str) -> BackendError:
    """The error of device memory that is too little.

    Args:
        asked: bytes.
        free: bytes of the GPU that are free.
        total: bytes that it has.
        purpose: what for.
    """
    return BackendError(
        f"the GPU has too little memory for {purpose}: {readable_size(asked)} are needed, "
        f"{readable_size(free)} of {readable_size(total)} are free",
        "give smaller batches or images, build the engine for smaller ones, or end what else uses "
        "the GPU ('nvidia-smi' lists it)",
    )
