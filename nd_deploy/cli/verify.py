"""`nd-deploy verify`: the parity gates again, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nd_deploy.cli.common import (
    bundle_argument,
    fields_of,
    json_option,
    print_json,
    stdout_kept_clean,
)
from nd_deploy.cli.render import progress
from nd_deploy.cli.runtime_options import runtime_options

if TYPE_CHECKING:
    from nd_deploy.parity.report import Gate
    from nd_deploy.runtime.options import RunOptions


@click.command("verify", short_help="Run the parity gates again, on this machine.")
@bundle_argument
@runtime_options
@click.option(
    "--per-layer", is_flag=True, help="Measure every layer, and name the first over its budget."
)
@json_option
def verify_command(
    bundle: Path, runtime: str, how: RunOptions, per_layer: bool, as_json: bool
) -> None:
    """Run the parity gates of BUNDLE again, on this machine; needs no PyTorch.

    Ends with exit code 2 if one fails.
    """
    from nd_deploy.cli.layer_chart import show_layers
    from nd_deploy.cli.parity_view import show_gates, show_origins
    from nd_deploy.errors import ParityError
    from nd_deploy.parity.verify import verify

    with stdout_kept_clean(as_json), progress() as tell:
        verification = verify(
            bundle, runtime=runtime, options=how, per_layer=per_layer, report=tell
        )
    report, layers = verification.report, verification.layers
    if as_json:
        measured = None if layers is None else [fields_of(layer) for layer in layers]
        print_json({"bundle": str(bundle), "parity": report.as_dict(), "layers": measured})
    else:
        show_gates(report)
        click.echo()
        show_origins(report)
        if layers is not None:
            click.echo()
            show_layers(layers)
    failed = [gate for gate in report.gates if not gate.passed]
    if failed:
        raise ParityError(
            f"{bundle}: the {failed[0].name} gate failed: {failed[0].error:.1e} is over "
            f"{failed[0].budget:.1e}",
            _remedy(failed[0], bundle, how, per_layer),
        )


def _remedy(failed: Gate, bundle: Path, how: RunOptions, per_layer: bool) -> str:
    if failed.name == "backend" and how.tf32:
        return "TF32 keeps 10 bits of each number: verify without --tf32"
    return "do not deploy it" + (
        "" if per_layer else f"; 'nd-deploy verify --per-layer {bundle}' names the layer"
    )
