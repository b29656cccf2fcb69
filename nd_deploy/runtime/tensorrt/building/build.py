"""Builds an engine, and says what was built."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from nd_deploy.compat import trt as compat
from nd_deploy.errors import BackendError, InputError
from nd_deploy.runtime.tensorrt.building import child
from nd_deploy.runtime.tensorrt.building.network import NEEDS_NO_GPU
from nd_deploy.runtime.tensorrt.building.receipt import BuildReceipt
from nd_deploy.runtime.tensorrt.building.request import BuildRequest, check_request
from nd_deploy.runtime.tensorrt.device import NoDevice, find_device
from nd_deploy.runtime.tensorrt.kept.engine_key import PORTABLE
from nd_deploy.runtime.tensorrt.process import run_in_child


@dataclass(frozen=True)
class BuiltEngine:
    """An engine and how it was built.

    Attributes:
        plan: the serialised engine.
        receipt: how it was built.
    """

    plan: bytes
    receipt: BuildReceipt


class Host(NamedTuple):
    """Who builds an engine, and for which GPU.

    Attributes:
        library: "tensorrt" or "tensorrt_rtx".
        device: the GPU's name, or "portable".
        compute_capability: such as "9.0", or several joined by commas, or "portable".
    """

    library: str
    device: str
    compute_capability: str


def host_of(request: BuildRequest) -> Host:
    """Who would build an engine as requested here, and for which GPU.

    TensorRT builds for the GPU that is there. TensorRT-RTX needs none: its engine runs on all that
    it supports, or on the compute capabilities that are asked for.

    Raises:
        InputError: something is asked for that only the other library has.
        MissingDependencyError: the library is not installed.
        BackendError: it needs a GPU, and none is there.
    """
    library = compat.choose(request.library)
    if library == compat.RTX:
        if request.timing_cache is not None:
            raise InputError(
                "--timing-cache is for TensorRT: TensorRT-RTX measures nothing when it builds",
                "drop it, or build with --runtime tensorrt",
            )
        capabilities = ",".join(request.compute_capabilities) or PORTABLE
        return Host(library, PORTABLE, capabilities)
    if request.compute_capabilities:
        raise InputError(
            "--compute-capability is for TensorRT-RTX: TensorRT builds for the GPU that is there",
            "drop it, or build with --runtime tensorrt-rtx",
        )
    device = find_device(request.device)
    if isinstance(device, NoDevice):
        raise BackendError(
            "TensorRT builds on the GPU that is to run the engine, and none can be used: "
            f"{device.reason}",
            f"{device.remedy}; or {NEEDS_NO_GPU}",
        )
    return Host(library, device.name, device.compute_capability)


def build_engine(
    request: BuildRequest, report: Callable[[str], None] = lambda line: None
) -> BuiltEngine:
    """Build an engine, in a process of its own.

    Args:
        request: what to build.
        report: called with a line of text as it goes on.

    Returns:
        The engine, which takes the path that was asked for at every ND node.

    Raises:
        InputError: an option or a file makes no sense, the model has another precision, or its
            shapes do not suit the profiles.
        GraphError: the parser refuses the model.
        BackendError: a layer takes another path than was asked, TensorRT fails or is killed, or
            there is no GPU where it needs one.
        MissingDependencyError: the library is not installed.
    """
    check_request(request)
    host = host_of(request)
    job = {"request": request.as_dict(), **host._asdict()}
    with (
        tempfile.TemporaryDirectory(prefix="nd-deploy-") as name,
        compat.linkable(host.library) as environment,
    ):
        folder = Path(name)
        report(f"starting {compat.title(host.library)}")
        fields = run_in_child(child.__name__, job, folder, environment, report)
        return BuiltEngine((folder / child.PLAN).read_bytes(), BuildReceipt.from_dict(fields))
