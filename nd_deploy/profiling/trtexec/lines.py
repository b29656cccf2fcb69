"""Everything that has to be run for a measurement by trtexec, in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nd_deploy.errors import InputError
from nd_deploy.profiling.results import Method
from nd_deploy.profiling.trtexec.command import Outputs, trtexec_command
from nd_deploy.profiling.trtexec.model import MeasuredModel
from nd_deploy.runtime.tensorrt.profile import Shape

# What `nd-deploy build` calls them.
_WORDS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


@dataclass(frozen=True)
class TrtexecOptions:
    """How trtexec is to build and run a model.

    Attributes:
        version: of TensorRT, of `versions.VERSIONS`.
        precision: numpy's name of what to compute in; None takes the model as it is.
        engine: a TensorRT engine to run instead of building one.
        tf32: whether float32 products may be computed in TF32.
        cuda_graph: whether to replay a CUDA graph.
        transfers: whether to copy inputs and outputs as well.
        plugins: libraries of plugins.
    """

    version: str
    precision: str | None = None
    engine: Path | None = None
    tf32: bool = False
    cuda_graph: bool = False
    transfers: bool = False
    plugins: tuple[Path, ...] = ()


def command_lines(
    model: MeasuredModel, shapes: Mapping[str, Shape], options: TrtexecOptions, method: Method
) -> list[list[str]]:
    """The commands of a measurement by trtexec, each a program and its arguments.

    A precision that the model does not have is one that `nd-deploy build` casts it to: trtexec of
    TensorRT 11 takes types from the model alone, and that of 10 would choose its own.

    Args:
        model: what to measure.
        shapes: to run on, as of `MeasuredModel.shapes`.
        options: how.
        method: as of `trtexec_command`.

    Raises:
        InputError: the options make no sense together or for this model.
    """
    _check(model, options)
    stem = f"{model.name}-b{model.batch(dict(shapes))}"
    engine, lines = options.engine, []
    if options.precision not in (None, model.precision):
        engine = Path(f"{stem}-{options.precision}.engine")
        lines.append(_build(model, shapes, options, engine))
    lines.append(
        trtexec_command(
            model.onnx if engine is None else engine,
            options.version,
            shapes,
            Outputs.called(stem),
            method,
            built=engine is not None,
            tf32=options.tf32,
            cuda_graph=options.cuda_graph,
            transfers=options.transfers,
            plugins=options.plugins,
        )
    )
    return lines


def _check(model: MeasuredModel, options: TrtexecOptions) -> None:
    if options.engine is not None and (options.precision is not None or options.tf32):
        raise InputError(
            "--precision and --tf32 are for building an engine, and --engine names one that is "
            "built",
            "give the one or the other",
        )
    if options.precision not in (None, model.precision) and not model.is_bundle:
        raise InputError(
            f"{model.path} is in {model.precision}, and TensorRT takes its types from the model",
            "convert the network to a bundle, which 'nd-deploy build' can cast, or build an engine "
            "and name it with --engine",
        )


def _build(
    model: MeasuredModel, shapes: Mapping[str, Shape], options: TrtexecOptions, engine: Path
) -> list[str]:
    assert options.precision is not None
    whole = (f"--shape={name}={'x'.join(map(str, shape))}" for name, shape in shapes.items())
    return [
        *("nd-deploy", "build", str(model.path), "--runtime=tensorrt"),
        f"--precision={_WORDS[options.precision]}",
        *whole,
        *(["--tf32"] if options.tf32 else []),
        *(f"--plugin={plugin}" for plugin in options.plugins),
        f"--output={engine}",
    ]
