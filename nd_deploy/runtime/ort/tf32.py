"""TF32 in ONNX Runtime: an option of the CUDA provider, a variable for the TensorRT provider.

NVIDIA's libraries read NVIDIA_TF32_OVERRIDE once in a process, so that the first TensorRT session
decides for all that follow.
"""

from __future__ import annotations

import os

from nd_deploy.errors import BackendError

VARIABLE = "NVIDIA_TF32_OVERRIDE"

_of_tensorrt: bool | None = None


def settle(wanted: bool, tensorrt: bool) -> None:
    """Make sure that float32 products are computed as wanted, before a session is created.

    Args:
        wanted: whether they may be in TF32.
        tensorrt: whether the session is on the TensorRT provider, which then leaves the variable
            set for the process where TF32 is not wanted.

    Raises:
        BackendError: the variable, or an earlier session of this process, says otherwise.
    """
    global _of_tensorrt
    forced = os.environ.get(VARIABLE)
    if tensorrt and _of_tensorrt is not None and _of_tensorrt != wanted:
        raise BackendError(
            f"a TensorRT session of this process runs with TF32 {_word(_of_tensorrt)}, and this "
            f"one is to run with TF32 {_word(wanted)}: the provider decides it once a process",
            "run the two in processes of their own",
        )
    if forced in ("0", "1") and forced != str(int(wanted)):
        raise BackendError(
            f"{VARIABLE}={forced} turns TF32 {_word(not wanted)} for every library of NVIDIA, and "
            f"this session is to run with TF32 {_word(wanted)}",
            f"unset {VARIABLE}, in a new process" + (", or drop --tf32" if wanted else ""),
        )
    if not tensorrt:
        return
    if not wanted:
        os.environ[VARIABLE] = "0"
    _of_tensorrt = wanted


def _word(on: bool) -> str:
    return "on" if on else "off"
