"""`nd-deploy build`: a bundle becomes a TensorRT engine."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nd_deploy.cli.common import FILE, bundle_argument, json_option, print_json, stdout_kept_clean
from nd_deploy.cli.render import progress

if TYPE_CHECKING:
    from nd_deploy.runtime.tensorrt.request import BuildRequest

RUNTIMES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
PRECISIONS = {"as-is": None, "fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def _read_with(parser: str) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], Any]:
    """Read an option that may be repeated with a function of the profiles' module."""

    def read(context: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> Any:  # noqa: ANN401
        profile = importlib.import_module("nd_deploy.runtime.tensorrt.profile")
        return tuple(getattr(profile, parser)(text) for text in texts)

    return read


@click.command("build", short_help="Build a TensorRT engine from a bundle.")
@bundle_argument
@click.option(
    "--output", "-o", type=FILE, metavar="FILE", help="Where to write it, instead of the cache."
)
@click.option(
    "--batch",
    "batches",
    metavar="MIN:OPT:MAX",
    multiple=True,
    callback=_read_with("parse_batch"),
    help="Batches to build for, or one alone; repeat it for more profiles.",
)
@click.option(
    "--shape",
    "shapes",
    metavar="INPUT=MIN:OPT:MAX",
    multiple=True,
    callback=_read_with("parse_shape"),
    help="Whole shapes of an input with other open axes, such as "
    "input=1x3x224x224:8x3x224x224:32x3x512x512.",
)
@click.option(
    "--precision",
    type=click.Choice(tuple(PRECISIONS)),
    default="as-is",
    show_default=True,
    help="What to compute in: fp16 and bf16 cast a float32 model. The parity budgets are those of "
    "float32.",
)
@click.option(
    "--runtime",
    type=click.Choice(tuple(RUNTIMES)),
    help="What to build for; whichever is installed if this is left out.",
)
@click.option("--tf32", is_flag=True, help="Let float32 products be computed in TF32.")
@click.option(
    "--plugin", "plugins", type=FILE, metavar="FILE", multiple=True, help="A library of plugins."
)
@click.option("--python-plugin", is_flag=True, help="Use the ND plugins written in Python.")
@click.option("--embed-plugins", is_flag=True, help="Put the plugin libraries into the engine.")
@click.option(
    "--expect",
    type=click.Choice(("plugin", "body")),
    help="What the ND layers left in the model have to run as; if this is left out, the plugin "
    "where plugins are given.",
)
@click.option(
    "--compute-capability",
    "capabilities",
    metavar="X.Y",
    multiple=True,
    help="TensorRT-RTX: a GPU generation to build for, instead of all.",
)
@click.option("--workspace", metavar="MIB", type=int, help="Device memory for a layer's work.")
@click.option(
    "--optimization-level", metavar="0..5", type=int, help="How long to look for fast kernels."
)
@click.option(
    "--timing-cache", type=FILE, metavar="FILE", help="TensorRT: what earlier builds measured."
)
@click.option("--rebuild", is_flag=True, help="Build it even if the cache has it.")
@json_option
def build_command(
    bundle: Path,
    output: Path | None,
    rebuild: bool,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - of `_request`
) -> None:
    """Build a TensorRT engine from BUNDLE, and say what became of each ND layer in it.

    Ends with exit code 3 if the engine would not be what was asked for.
    """
    from nd_deploy.cli.engine_view import show_engine
    from nd_deploy.runtime.tensorrt.engines import engine_for

    with stdout_kept_clean(as_json), progress() as report:
        request = _request(bundle, **options)
        engine = engine_for(request, output, rebuild=rebuild, report=report)
    if as_json:
        print_json(
            {
                "bundle": str(bundle),
                "engine": str(engine.stored.plan_path),
                "built": engine.built,
                "key": engine.stored.key and engine.stored.key.as_dict(),
                "receipt": engine.receipt.as_dict(),
            }
        )
    else:
        show_engine(engine)


def _request(
    bundle: Path,
    batches: tuple[Any, ...],
    shapes: tuple[Any, ...],
    precision: str,
    runtime: str | None,
    tf32: bool,
    plugins: tuple[Path, ...],
    python_plugin: bool,
    embed_plugins: bool,
    expect: str | None,
    capabilities: tuple[str, ...],
    workspace: int | None,
    optimization_level: int | None,
    timing_cache: Path | None,
) -> BuildRequest:
    from nd_deploy.bundle import read_bundle
    from nd_deploy.runtime.tensorrt.facts import read_facts
    from nd_deploy.runtime.tensorrt.request import BuildRequest
    from nd_deploy.runtime.tensorrt.shapes import make_profiles

    found = read_bundle(bundle)
    return BuildRequest(
        model=found.model_path,
        library=None if runtime is None else RUNTIMES[runtime],
        profiles=make_profiles(read_facts(found.model_path).inputs, batches, shapes),
        precision=PRECISIONS[precision],
        tf32=tf32,
        workspace_mib=workspace,
        optimization_level=optimization_level,
        timing_cache=timing_cache,
        compute_capabilities=capabilities,
        plugin_libraries=plugins,
        python_plugins=python_plugin,
        embed_plugins=embed_plugins,
        expected_default=expect,
        decisions=tuple(found.decisions),
    )
