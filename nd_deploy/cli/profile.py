"""`nd-deploy profile`: how long bundles take, compared."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nd_deploy.cli.common import FILE, json_option, precision_option, print_json, stdout_kept_clean
from nd_deploy.cli.profile_options import listed, one_or_both, word
from nd_deploy.cli.render import progress
from nd_deploy.cli.runtime_options import (
    engine_option,
    key_values,
    plugin_option,
    tf32_option,
    trust_option,
)
from nd_deploy.errors import BackendError, InputError
from nd_deploy.runtime.options import RunOptions

if TYPE_CHECKING:
    from nd_deploy.profiling.comparison import Comparison
    from nd_deploy.profiling.results import Method, Profile

_GRAPHS, _read_graphs = one_or_both("off", "on")
_CACHES, _read_caches = one_or_both("warm", "cold")
_INTERRUPTED = 130


@click.command("profile", short_help="Time bundles in turns, and compare them.")
@click.argument("bundles", type=FILE, nargs=-1)
@click.option(
    "--runtime",
    "runtimes",
    metavar="A,B",
    default="ort-cpu",
    show_default=True,
    callback=listed(word),
    help="What is to run the models: torch, torch-cuda, ort-cpu, ort-cuda, ort-tensorrt, tensorrt "
    "or tensorrt-rtx. It is that or an error.",
)
@click.option(
    "--batch",
    "batches",
    metavar="1,8",
    default="1",
    show_default=True,
    callback=listed(int),
    help="How many inputs a run takes.",
)
@click.option(
    "--threads",
    metavar="1,2",
    callback=listed(int),
    help="CPU: threads of one operator; left out, the runtime chooses.",
)
@click.option(
    "--against",
    metavar="naive|FILE",
    multiple=True,
    help="What to compare with: 'naive' for torch.onnx.export of the trained network, or an ONNX "
    "file of the same inputs. The first is the baseline.",
)
@click.option(
    "--checkpoint",
    type=FILE,
    metavar="FILE",
    help="Where the weights are now, for torch and naive.",
)
@click.option(
    "--cuda-graph",
    type=_GRAPHS,
    default="off",
    show_default=True,
    callback=_read_graphs,
    help="GPU: whether to replay CUDA graphs.",
)
@click.option(
    "--l2",
    "cold_l2",
    type=_CACHES,
    default="warm",
    show_default=True,
    callback=_read_caches,
    help="GPU: whether its cache still holds the last run's data.",
)
@precision_option
@tf32_option
@plugin_option
@engine_option
@trust_option
@click.option(
    "--option",
    "own",
    metavar="[RUNTIME:]KEY=VALUE",
    multiple=True,
    help="An option of a runtime's own; repeat it for more.",
)
@click.option(
    "--openings", type=int, metavar="N", help="How often models are opened.  [default: 5]"
)
@click.option("--rounds", type=int, metavar="N", help="Turns in an opening.  [default: 8]")
@click.option(
    "--seconds", type=float, metavar="S", help="About how long a turn lasts.  [default: 0.1]"
)
@click.option("--warmup", type=float, metavar="S", help="Uncounted runs first.  [default: 0.2]")
@click.option("--layers", is_flag=True, help="Time single layers too, in runs of their own.")
@click.option("--no-peaks", is_flag=True, help="Do not measure what the machine can do at most.")
@click.option(
    "--export",
    "exports",
    type=FILE,
    metavar="FILE",
    multiple=True,
    help="Write the result: .json holds all of it, .csv, .md, or .html for a page with charts.",
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier --export.")
@click.option(
    "--compare",
    type=FILE,
    nargs=2,
    metavar="OLD NEW",
    help="Instead, compare two results that --export wrote as .json.",
)
@click.option(
    "--fail-over",
    metavar="5%",
    help="--compare: end with exit code 3 if anything became slower by more.",
)
@json_option
def profile_command(
    bundles: tuple[Path, ...],
    compare: tuple[Path, Path] | None,
    fail_over: str | None,
    exports: tuple[Path, ...],
    overwrite: bool,
    as_json: bool,
    **options: Any,  # noqa: ANN401
) -> None:
    """Time BUNDLES in turns, and say how they compare.

    Ctrl-C ends it early and shows the rounds that are finished.
    """
    if compare is not None:
        _refuse_more(bundles, exports)
        _compare(compare, fail_over, as_json)
        return
    if fail_over is not None:
        raise InputError(
            "--fail-over is for --compare", "give two results to --compare, or drop it"
        )
    from nd_deploy.report.export import check_export, write_profile

    for place, path in enumerate(exports):
        check_export(path, overwrite)
        if path in exports[:place]:
            raise InputError(f"--export {path} is given twice", "give it once")
    with stdout_kept_clean(as_json), progress() as report:
        result = _measure(bundles, options, report)
    for path in exports:
        write_profile(result, path, overwrite)
    if as_json:
        from nd_deploy.report.json_file import document

        print_json(document(result))
    else:
        from nd_deploy.cli.profile_view import show_profile

        show_profile(result)
        for path in exports:
            click.echo(f"written to {path}", err=True)
    if result.interrupted:
        click.get_current_context().exit(_INTERRUPTED)


def _measure(bundles: tuple[Path, ...], options: dict[str, Any], report: Any) -> Profile:  # noqa: ANN401
    from nd_deploy.profiling.run import profile

    return profile(
        bundles,
        runtimes=options["runtimes"],
        batches=options["batches"],
        threads=options["threads"] or (None,),
        against=options["against"],
        checkpoint=options["checkpoint"],
        cuda_graph=options["cuda_graph"],
        cold_l2=options["cold_l2"],
        options=RunOptions(
            options=key_values(options["own"]),
            plugins=options["plugins"],
            precision=options["precision"],
            tf32=options["tf32"],
            engine=options["engine"],
            trust_unrecorded=options["trust_unrecorded"],
        ),
        method=_method(options),
        layers=options["layers"],
        peaks=not options["no_peaks"],
        command=shlex.join(["nd-deploy", *sys.argv[1:]]),
        report=report,
    )


def _method(options: dict[str, Any]) -> Method:
    from nd_deploy.profiling.results import Method

    given = {
        "openings": options["openings"],
        "rounds": options["rounds"],
        "turn_seconds": options["seconds"],
        "warmup_seconds": options["warmup"],
    }
    return Method(**{name: value for name, value in given.items() if value is not None})


def _refuse_more(bundles: tuple[Path, ...], exports: tuple[Path, ...]) -> None:
    if bundles or exports:
        what = "bundles to measure" if bundles else "--export"
        raise InputError(
            f"--compare measures nothing, and {what} are given too",
            "compare first, or measure first",
        )


def _compare(paths: tuple[Path, Path], fail_over: str | None, as_json: bool) -> None:
    from nd_deploy.cli.profile_view import show_comparison
    from nd_deploy.profiling.comparison import compare, parse_limit
    from nd_deploy.report.json_file import read_profile

    limit = None if fail_over is None else parse_limit(fail_over)
    old, new = map(read_profile, paths)
    comparison = compare(old, new)
    if as_json:
        print_json(comparison.as_dict())
    else:
        show_comparison(comparison)
    if limit is not None:
        _require(comparison, limit, fail_over or "")


def _require(comparison: Comparison, limit: float, text: str) -> None:
    from nd_deploy.profiling.comparison import failures

    slower = failures(comparison, limit)
    if slower:
        raise BackendError(
            f"{slower[0].new.contestant} became slower by more than {text}"
            + (f", and {len(slower) - 1} more" if len(slower) > 1 else ""),
            "find the change that did it, or measure both again in one run: "
            "'nd-deploy profile NEW --against OLD/model.onnx' is not fooled by a slower day",
        )
