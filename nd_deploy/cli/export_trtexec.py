"""`nd-deploy export-trtexec`: the same measurement by trtexec, and its result read back."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nd_deploy.cli.common import FILE, precision_option
from nd_deploy.cli.profile_options import listed
from nd_deploy.cli.runtime_options import plugin_option, tf32_option
from nd_deploy.errors import InputError
from nd_deploy.profiling.trtexec.versions import VERSIONS

if TYPE_CHECKING:
    from nd_deploy.profiling.results import Method
    from nd_deploy.profiling.trtexec.importing import Imported
    from nd_deploy.profiling.trtexec.model import MeasuredModel


@click.command(
    "export-trtexec", short_help="Print the trtexec command of a measurement, or read its result."
)
@click.argument("model", metavar="BUNDLE", type=FILE)
@click.option(
    "--batch",
    "batches",
    metavar="1,8",
    callback=listed(int),
    help="How many inputs a run takes: a command each.",
)
@click.option(
    "--shape",
    "shapes",
    metavar="INPUT=NxCxHxW",
    multiple=True,
    help="The whole shape of an input with other open axes.",
)
@click.option(
    "--trt",
    "version",
    type=click.Choice(VERSIONS),
    default=VERSIONS[0],
    show_default=True,
    help="The version of TensorRT, whose trtexec differ.",
)
@precision_option
@click.option("--engine", type=FILE, metavar="FILE", help="Load this engine instead of building.")
@tf32_option
@click.option("--cuda-graph/--no-cuda-graph", default=False, help="Whether to replay a CUDA graph.")
@click.option("--transfers", is_flag=True, help="Copy inputs and outputs as well.")
@plugin_option
@click.option("--rounds", type=int, metavar="N", help="As of 'nd-deploy profile'.")
@click.option("--seconds", type=float, metavar="S", help="As of 'nd-deploy profile'.")
@click.option("--warmup", type=float, metavar="S", help="As of 'nd-deploy profile'.")
@click.option(
    "--import",
    "times",
    type=FILE,
    metavar="FILE",
    multiple=True,
    help="Instead, read what trtexec wrote for --exportTimes; repeat it for each start of trtexec.",
)
@click.option(
    "--import-profile", "layer_times", type=FILE, metavar="FILE", help="And for --exportProfile."
)
@click.option(
    "--import-layers", "layer_info", type=FILE, metavar="FILE", help="And for --exportLayerInfo."
)
@click.option("--import-log", "log", type=FILE, metavar="FILE", help="And what it printed.")
@click.option(
    "--output",
    "-o",
    type=FILE,
    metavar="FILE",
    help="--import: write the result: .json, .csv, .md, or .html.",
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier --output.")
def export_trtexec_command(
    model: Path,
    batches: tuple[int, ...],
    shapes: tuple[str, ...],
    version: str,
    precision: str | None,
    engine: Path | None,
    tf32: bool,
    cuda_graph: bool,
    transfers: bool,
    plugins: tuple[Path, ...],
    rounds: int | None,
    seconds: float | None,
    warmup: float | None,
    times: tuple[Path, ...],
    layer_times: Path | None,
    layer_info: Path | None,
    log: Path | None,
    output: Path | None,
    overwrite: bool,
) -> None:
    """Print the command of NVIDIA's trtexec that measures BUNDLE as 'nd-deploy profile' does.

    BUNDLE may be an ONNX file as well. A precision that it does not have takes an engine that
    'nd-deploy build' makes, in the same version of TensorRT. With --import, what trtexec wrote is
    read into the same report instead: give the options that the command was printed with.
    """
    from nd_deploy.profiling.trtexec.lines import TrtexecOptions, command_lines
    from nd_deploy.profiling.trtexec.model import read_model

    method = _method(rounds, seconds, warmup)
    if times:
        batch = _only(batches)
        read = read_model(model)
        imported = _imported(read, batch, shapes, cuda_graph, times)
        imported = replace(imported, profile=layer_times, layers=layer_info, log=log)
        _show(imported, method, output, overwrite)
        return
    if any((layer_times, layer_info, log, output)):
        raise InputError(
            "--output and --import-... are of what --import reads, which is not given",
            "give what trtexec wrote for --exportTimes with --import, or drop them",
        )
    read = read_model(model)
    wanted = TrtexecOptions(version, precision, engine, tf32, cuda_graph, transfers, plugins)
    for size in batches or (None,):
        for line in command_lines(read, read.shapes(size, shapes), wanted, method):
            click.echo(shlex.join(line))


def _method(rounds: int | None, seconds: float | None, warmup: float | None) -> Method:
    from nd_deploy.profiling.plan import check_method
    from nd_deploy.profiling.results import Method

    usual = Method()
    method = Method(
        rounds=usual.rounds if rounds is None else rounds,
        turn_seconds=usual.turn_seconds if seconds is None else seconds,
        warmup_seconds=usual.warmup_seconds if warmup is None else warmup,
    )
    check_method(method)
    return method


def _only(batches: Sequence[int]) -> int | None:
    if len(batches) > 1:
        raise InputError(
            f"--import is of one batch, and --batch names {len(batches)}",
            "import the files of each batch by themselves",
        )
    return batches[0] if batches else None


def _imported(
    model: MeasuredModel,
    batch: int | None,
    shapes: Sequence[str],
    cuda_graph: bool,
    times: Sequence[Path],
) -> Imported:
    from nd_deploy.bundle.files import sha256
    from nd_deploy.profiling.contestant import Contestant
    from nd_deploy.profiling.trtexec.importing import Imported
    from nd_deploy.runtime.options import TENSORRT

    size = model.batch(model.shapes(batch, shapes))
    return Imported(
        Contestant(model.name, TENSORRT, size, cuda_graph=cuda_graph),
        times,
        sha256=sha256(model.onnx),
        nd_layers=None if model.nd_layers is None else len(model.nd_layers),
        attribution=model.attribution(),
    )


def _show(imported: Imported, method: Method, output: Path | None, overwrite: bool) -> None:
    from nd_deploy.cli.profile_view import show_profile
    from nd_deploy.profiling.trtexec.importing import read_trtexec
    from nd_deploy.report.export import check_export, write_profile

    if output is not None:
        check_export(output, overwrite)
    profile = read_trtexec(imported, method)
    show_profile(profile)
    if output is not None:
        write_profile(profile, output, overwrite)
        click.echo(f"{output} holds this measurement", err=True)
