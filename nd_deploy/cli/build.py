"""`nd-deploy build`: a bundle becomes a TensorRT engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nd_deploy.cli.common import (
    FILE,
    bundle_argument,
    json_option,
    precision_option,
    print_json,
    stdout_kept_clean,
)
from nd_deploy.cli.render import progress
from nd_deploy.runtime.options import ENGINE_RUNTIMES


@click.command("build", short_help="Build a TensorRT engine from a bundle.")
@bundle_argument
@click.option(
    "--output", "-o", type=FILE, metavar="FILE", help="Where to write it, instead of the cache."
)
@click.option(
    "--batch",
    metavar="MIN:OPT:MAX",
    multiple=True,
    help="Batches to build for, or one alone; repeat it for more profiles.",
)
@click.option(
    "--shape",
    "shapes",
    metavar="INPUT=MIN:OPT:MAX",
    multiple=True,
    help="Whole shapes of an input with other open axes, such as "
    "input=1x3x224x224:8x3x224x224:32x3x512x512.",
)
@precision_option
@click.option(
    "--runtime",
    type=click.Choice(ENGINE_RUNTIMES),
    help="What to build for; whichever is installed if this is left out.",
)
@click.option("--tf32", is_flag=True, help="Let float32 products be computed in TF32.")
@click.option(
    "--plugin", "plugins", type=FILE, metavar="FILE", multiple=True, help="A library of plugins."
)
@click.option(
    "--python-plugin", "python_plugins", is_flag=True, help="Use the ND plugins written in Python."
)
@click.option("--embed-plugins", is_flag=True, help="Put the plugin libraries into the engine.")
@click.option(
    "--expect",
    "expected_default",
    type=click.Choice(("plugin", "body")),
    help="What the ND layers left in the model have to run as; if this is left out, the plugin "
    "where plugins are given.",
)
@click.option(
    "--compute-capability",
    "compute_capabilities",
    metavar="X.Y",
    multiple=True,
    help="TensorRT-RTX: a GPU generation to build for, instead of all.",
)
@click.option(
    "--workspace",
    "workspace_mib",
    metavar="MIB",
    type=int,
    help="Device memory for a layer's work.",
)
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
    as_json: bool,
    **options: Any,  # noqa: ANN401 - of `nd_deploy.build`
) -> None:
    """Build a TensorRT engine from BUNDLE, and say what became of each ND layer in it.

    Ends with exit code 3 if the engine would not be what was asked for.
    """
    from nd_deploy.cli.engine_view import show_engine
    from nd_deploy.runtime.tensorrt.from_bundle import build

    with stdout_kept_clean(as_json), progress() as report:
        engine = build(bundle, output, report=report, **options)
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
