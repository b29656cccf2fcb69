"""What there is in an environment, as facts without a judgement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Gpu:
    """A GPU.

    Attributes:
        name: such as "NVIDIA H200".
        compute_capability: such as "9.0".
        memory: in words, as whoever listed it has it.
    """

    name: str
    compute_capability: str
    memory: str = ""


@dataclass(frozen=True)
class Driver:
    """NVIDIA's driver.

    Attributes:
        version: such as "580.65.06"; None where it does not tell, as on a Jetson.
        cuda: the newest CUDA that it takes, such as "13.0"; None if that cannot be found out.
        problem: why no program can use it; None if one can.
    """

    version: str | None = None
    cuda: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class OnnxRuntime:
    """The module onnxruntime.

    Attributes:
        version: of the module; None if it cannot be imported.
        cuda: that it is built for, such as "13.0"; None for the build without.
        problem: why it cannot be imported; None if it can.
        runs: what was wrong when a session was tried, by provider; None where it ran.
        needs: the libraries that a provider's file names, by provider.
        missing: those of them that are not to be found, by provider.
    """

    version: str | None = None
    cuda: str | None = None
    problem: str | None = None
    runs: Mapping[str, str | None] = field(default_factory=dict)
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class TensorRt:
    """The module tensorrt or tensorrt_rtx.

    Attributes:
        version: None if it cannot be imported.
        problem: why it cannot be imported; None if it can.
        precedence: of "BODY", "PLUGIN" and "ATTRIBUTE", what its parser goes by.
        compute_capabilities: that it builds for; empty where it builds for the GPU that is there.
    """

    version: str | None = None
    problem: str | None = None
    precedence: str | None = None
    compute_capabilities: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plugin:
    """A plugin library.

    Attributes:
        path: its file.
        ops: the plugins in it.
        headers: the version of TensorRT that it is built with; None if nobody knows.
        nvcc: the version of the CUDA compiler; None if nobody knows.
        archs: compute capabilities there is machine code for, such as "90".
        ptx: the one there is code for newer GPUs of.
        self_register: whether it registers its plugins by being loaded.
        problem: what is wrong with it; None if nothing.
        remedy: what to do about that.
    """

    path: str
    ops: tuple[str, ...] = ()
    headers: str | None = None
    nvcc: str | None = None
    archs: tuple[str, ...] = ()
    ptx: str | None = None
    self_register: bool = False
    problem: str | None = None
    remedy: str | None = None


@dataclass(frozen=True)
class EngineCache:
    """The folder of engines.

    Attributes:
        folder: where; None if there can be none.
        engines: how many files it holds.
        bytes: of all of them.
        problem: why nothing can be kept there; None if it can.
        remedy: what to do about that.
    """

    folder: str | None = None
    engines: int = 0
    bytes: int = 0
    problem: str | None = None
    remedy: str | None = None


@dataclass(frozen=True)
class Facts:
    """An environment.

    Attributes:
        python: its version and program.
        platform: the operating system.
        machine: such as "x86_64".
        processors: how many.
        telemetry_off: whether ONNX Runtime sends nothing.
        packages: installed versions, by distribution.
        gpus: that a program finds, or else that nvidia-smi lists.
        driver: NVIDIA's; None if nothing of it is there.
        nvcc: the version of the CUDA compiler; None without one.
        build_tools: why the plugin library cannot be built here, and what would change that; None
            if it can.
        cudnn: its version; None without it.
        cuda_package: what CUDA is called through, with its version, or None.
        onnxruntime: None if it is not installed.
        tensorrt: None if it is not installed.
        tensorrt_rtx: None if it is not installed.
        plugins: the libraries built here, and the one that the environment names.
        cache: of engines.
        jetson: the release of Jetson Linux, such as "36.4.3"; None elsewhere.
        conflict: what breaks the environment as a whole, and the command that ends it.
    """

    python: str
    platform: str
    machine: str
    processors: int
    telemetry_off: bool
    packages: Mapping[str, str] = field(default_factory=dict)
    gpus: tuple[Gpu, ...] = ()
    driver: Driver | None = None
    nvcc: str | None = None
    build_tools: tuple[str, str] | None = None
    cudnn: str | None = None
    cuda_package: str | None = None
    onnxruntime: OnnxRuntime | None = None
    tensorrt: TensorRt | None = None
    tensorrt_rtx: TensorRt | None = None
    plugins: tuple[Plugin, ...] = ()
    cache: EngineCache = EngineCache()
    jetson: str | None = None
    conflict: str | None = None
