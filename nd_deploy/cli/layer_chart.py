"""The error of each layer as a bar, on a logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from nd_deploy.cli.render import table

if TYPE_CHECKING:
    from nd_deploy.parity.verify import LayerError

WIDTH = 30


def show_layers(layers: Sequence[LayerError]) -> None:
    """Draw a bar for each layer, with its budget as "|", and name the first that is over."""
    if not layers:
        click.echo("there is no layer to measure")
        return
    bars = draw_bars([layer.error for layer in layers], [layer.budget for layer in layers])
    table(
        ("layer", "node", ">error", ">budget", "# error and | budget, on a log scale"),
        [
            (layer.layer, layer.node, f"{layer.error:.1e}", f"{layer.budget:.1e}", bar)
            for layer, bar in zip(layers, bars, strict=True)
        ],
    )
    over = [layer for layer in layers if not layer.error <= layer.budget]
    if over:
        first = over[0]
        click.echo(
            f"first over its budget: {first.layer} (node {first.node}), "
            f"{first.error:.1e} over {first.budget:.1e}"
        )
    else:
        click.echo("every layer is within its budget")


def draw_bars(errors: Sequence[float], budgets: Sequence[float]) -> list[str]:
    """A bar of "#" for each error, and a "|" where its budget lies, all on one scale.

    Args:
        errors: an error of 0 has no bar; one that is not finite fills the width.
        budgets: one for each error.

    Returns:
        Texts of up to WIDTH + 1 characters.
    """
    known = [value for value in (*errors, *budgets) if 0 < value < math.inf]
    if not known:
        return ["#" * WIDTH if not math.isfinite(error) else "" for error in errors]
    # From the decade below the smallest, so that the smallest still shows.
    low = math.ceil(math.log10(min(known))) - 1
    per_decade = (WIDTH - 1) / (math.log10(max(known)) - low)

    def place(value: float) -> int:
        if not math.isfinite(value):
            return WIDTH
        return 0 if value <= 0 else round((math.log10(value) - low) * per_decade)

    bars = []
    for error, budget in zip(errors, budgets, strict=True):
        bar = list(("#" * place(error)).ljust(WIDTH + 1))
        bar[place(budget)] = "|"
        bars.append("".join(bar).rstrip())
    return bars
