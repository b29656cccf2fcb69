"""The command of trtexec that measures what nd-deploy measures.

Its options and their defaults were read in NVIDIA's TensorRT repository, samples/common,
sampleOptions.{h,cpp}, at the tags v10.3.0, v10.16, v11.0 and v11.1. From 10 to 11 they change:

* 11 takes typed models alone, and --fp16, --bf16, --int8 and --best are gone; in 10 a typed model
  needs --stronglyTyped, or else TensorRT chooses types of its own.
* CUDA graphs, runs without copies, spinning and a run of its own for the layers' times are asked
  for in 10 (--useCudaGraph, --noDataTransfers, --useSpinWait, --separateProfileRun) and the default
  in 11, where these flags do nothing but warn and the opposites are --noCudaGraph,
  --includeDataTransfers and --noSpinWait.

In both, trtexec puts the next run into the stream before the last one is over, so that the GPU
never waits for the host; --exposeDMA makes it wait for each run, as nd-deploy does. It warms up by
time alone, keeps the GPU's cache warm, and opens the engine once in a process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nd_deploy.errors import InputError
from nd_deploy.profiling.results import Method
from nd_deploy.profiling.trtexec.versions import VERSIONS
from nd_deploy.runtime.tensorrt.profile import Shape


@dataclass(frozen=True)
class _Flags:
    """How a version of trtexec is asked for what differs between them."""

    typed: tuple[str, ...]
    graph: tuple[str, ...]
    no_graph: tuple[str, ...]
    transfers: tuple[str, ...]
    no_transfers: tuple[str, ...]
    always: tuple[str, ...]


_FLAGS = {
    "10": _Flags(
        typed=("--stronglyTyped",),
        graph=("--useCudaGraph",),
        no_graph=(),
        transfers=(),
        no_transfers=("--noDataTransfers",),
        always=("--useSpinWait", "--separateProfileRun"),
    ),
    "11": _Flags(
        typed=(),
        graph=(),
        no_graph=("--noCudaGraph",),
        transfers=("--includeDataTransfers",),
        no_transfers=(),
        always=(),
    ),
}


@dataclass(frozen=True)
class Outputs:
    """The files that trtexec is to write.

    Attributes:
        times: of every run.
        profile: the times of layers.
        layers: what the layers are.
    """

    times: str
    profile: str
    layers: str

    @classmethod
    def called(cls, stem: str) -> Outputs:
        """Files whose names begin the same."""
        return cls(f"{stem}-times.json", f"{stem}-profile.json", f"{stem}-layers.json")


def trtexec_command(
    model: Path,
    version: str,
    shapes: Mapping[str, Shape],
    outputs: Outputs,
    method: Method | None = None,
    *,
    built: bool = False,
    save_engine: Path | None = None,
    tf32: bool = False,
    cuda_graph: bool = False,
    transfers: bool = False,
    plugins: Sequence[Path] = (),
    device: int = 0,
) -> list[str]:
    """The command that measures a model in TensorRT as nd-deploy does.

    The model is computed in the types that it has; cast it, or build an engine, for others.

    Args:
        model: an ONNX file, or an engine.
        version: of TensorRT, of VERSIONS.
        shapes: of every input that has an open axis, and of no other; an engine is built for these
            alone.
        outputs: the files to write.
        method: how long to warm up and to measure: for as long, and in as many runs at least, as
            all turns of one opening.
        built: whether the model is an engine.
        save_engine: where to keep the engine that is built.
        tf32: whether float32 products may be computed in TF32.
        cuda_graph: whether to replay a CUDA graph.
        transfers: whether to copy inputs and outputs as well, and take the times of that.
        plugins: libraries of plugins, such as 'nd-deploy plugin build' makes. They are loaded by
            TensorRT's registry (--dynamicPlugins), since they do not register themselves.
        device: CUDA's number of the GPU.

    Returns:
        The program and its arguments; `shlex.join` makes a line of them.

    Raises:
        InputError: the version is unknown, an engine is to be built from an engine, or trtexec
            cannot be given an input's name.
    """
    flags = _flags(version)
    method = Method() if method is None else method
    if built and save_engine is not None:
        raise InputError(
            f"{model} is an engine already, and none is built to be saved",
            "give the ONNX model, or save none",
        )
    return [
        "trtexec",
        *(_loading(model) if built else _building(model, flags, tf32, save_engine)),
        *([f"--shapes={_shapes(shapes)}"] if shapes else []),
        *(f"--dynamicPlugins={plugin}" for plugin in plugins),
        *([f"--device={device}"] if device else []),
        *_timing(method),
        *(flags.graph if cuda_graph else flags.no_graph),
        *(flags.transfers if transfers else flags.no_transfers),
        *flags.always,
        f"--exportTimes={outputs.times}",
        f"--exportProfile={outputs.profile}",
        f"--exportLayerInfo={outputs.layers}",
    ]


def _flags(version: str) -> _Flags:
    if version not in _FLAGS:
        raise InputError(
            f"the trtexec of TensorRT {version} is not known", f"choose from {', '.join(VERSIONS)}"
        )
    return _FLAGS[version]


def _loading(engine: Path) -> list[str]:
    return [f"--loadEngine={engine}"]


def _building(model: Path, flags: _Flags, tf32: bool, save_engine: Path | None) -> list[str]:
    return [
        f"--onnx={model}",
        *flags.typed,
        *([] if tf32 else ["--noTF32"]),
        "--profilingVerbosity=detailed",
        *([] if save_engine is None else [f"--saveEngine={save_engine}"]),
    ]


def _timing(method: Method) -> list[str]:
    return [
        f"--warmUp={method.warmup_seconds * 1000:g}",
        f"--duration={method.rounds * method.turn_seconds:g}",
        f"--iterations={method.rounds * method.turn_iterations}",
        "--percentile=50,90,95,99",
        "--exposeDMA",
    ]


def _shapes(shapes: Mapping[str, Shape]) -> str:
    return ",".join(f"{_quoted(name)}:{'x'.join(map(str, s))}" for name, s in shapes.items())


def _quoted(name: str) -> str:
    """A name as trtexec takes it: "*" stands for any text, and colons need quotation marks."""
    if set(name) & set(",'*"):
        raise InputError(
            f"trtexec cannot be given a shape for input {name!r}, because of the characters in its "
            "name",
            "rename the input, or convert the network with --static-batch",
        )
    return f"'{name}'" if ":" in name else name
