"""What a built engine is, as the terminal shows it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nd_deploy.cli.render import shortened, table
from nd_deploy.fold.decisions import layer_type

if TYPE_CHECKING:
    from nd_deploy.runtime.tensorrt.building.paths import LayerPath
    from nd_deploy.runtime.tensorrt.building.receipt import BuildReceipt
    from nd_deploy.runtime.tensorrt.engines import Engine


def show_engine(engine: Engine) -> None:
    """Print where an engine is and what is in it."""
    from nd_deploy.bundle.files import readable_size

    receipt = engine.receipt
    _show_build(receipt)
    if receipt.paths:
        click.echo()
        _show_paths(receipt.paths)
    click.echo()
    counts = ", ".join(f"{count} {name}" for name, count in receipt.precisions().items())
    click.echo(f"layers: {counts or 'none of floats'}; as told by {receipt.layers_from}")
    for warning in receipt.warnings:
        click.echo(f"warning: {warning}")
    size = readable_size(receipt.engine_bytes)
    if engine.built:
        click.echo(f"built in {receipt.seconds:.1f} s: {engine.stored.plan_path} ({size})")
    else:
        click.echo(f"kept from before: {engine.stored.plan_path} ({size}); --rebuild makes it anew")


def _show_build(receipt: BuildReceipt) -> None:
    from nd_deploy.compat import trt

    tf32 = "on" if receipt.tf32 else "off"
    click.echo(
        f"{trt.title(receipt.library)} {receipt.version}, {receipt.precision}, TF32 {tf32}, "
        f"for {_host(receipt)}"
    )
    for profile in receipt.profiles:
        click.echo(f"shapes: {profile}")
    for name, value in receipt.settings.items():
        click.echo(f"{name.replace('_', ' ')}: {value}")
    for plugin in receipt.plugins:
        embedded = ", in the engine" if plugin.embedded else ""
        known = f" (sha256 {plugin.sha256[:16]}{embedded})" if plugin.sha256 else ""
        click.echo(f"plugins: {Path(plugin.source).name}{known}")


def _host(receipt: BuildReceipt) -> str:
    from nd_deploy.runtime.tensorrt.kept.engine_key import PORTABLE

    if receipt.device != PORTABLE:
        return f"{receipt.device} (compute capability {receipt.compute_capability})"
    if receipt.compute_capability != PORTABLE:
        return f"compute capability {receipt.compute_capability}, built without a GPU"
    return "all GPUs that it takes by default, built without one"


def _show_paths(paths: Sequence[LayerPath]) -> None:
    table(
        ("layer", "was", "in the engine", "at"),
        [
            (
                path.layer,
                layer_type(path.op_type),
                f"{path.path} {path.plugin}" if path.plugin else path.path,
                shortened(path.nodes, 40) or "-",
            )
            for path in paths
        ],
    )
