"""`nd-deploy inspect`: what a bundle says about itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nd_deploy.cli.common import bundle_argument, bundle_document, json_option, print_json
from nd_deploy.cli.render import number, shortened, table
from nd_deploy.fold.decisions import action_in_words, ends_in, layer_type, worst_of

if TYPE_CHECKING:
    from nd_deploy.bundle import Bundle
    from nd_deploy.bundle.manifest import TensorInfo


@click.command("inspect", short_help="Show what became of each ND layer, and why.")
@bundle_argument
@json_option
def inspect_command(bundle: Path, as_json: bool) -> None:
    """Show what became of each ND layer of BUNDLE, why, and at which cost."""
    from nd_deploy.bundle import read_bundle

    found = read_bundle(bundle)
    if as_json:
        print_json(bundle_document(found))
    else:
        _show(found)


def _show(bundle: Bundle) -> None:
    from nd_deploy.cli.parity_view import show_gates

    manifest = bundle.manifest
    click.echo(f"{manifest.network}: {manifest.nd_layers} ND layers, {manifest.precision}")
    click.echo(f"reads {_tensors(manifest.inputs)}; gives {_tensors(manifest.outputs)}")
    if manifest.checkpoint:
        click.echo(f"weights from {manifest.checkpoint.get('name')}")
    click.echo(f"converted {manifest.created} by nd-deploy {manifest.versions.get('nd_deploy')}")
    click.echo()
    _show_decisions(bundle.decisions)
    if bundle.warnings:
        click.echo()
    for warning in bundle.warnings:
        click.echo(f"warning: {warning}")
    counts = sorted(manifest.nodes_left.items(), key=lambda item: (-item[1], item[0]))
    click.echo("\nthe graph has " + ", ".join(f"{count} {op}" for op, count in counts))
    click.echo("\nparity, at conversion:")
    show_gates(bundle.parity)


def _show_decisions(decisions: Sequence[dict[str, Any]]) -> None:
    """Print a row a layer; the reasons, of which there are few, come below."""
    reasons = list(dict.fromkeys(decision["reason"] for decision in decisions))
    table(
        ("layer", "was", "decision", "why", ">growth", ">cond(D)", ">fp16", ">storage"),
        [
            (
                decision["layer"],
                layer_type(decision["op_type"]),
                _place(decision),
                f"[{reasons.index(decision['reason']) + 1}]",
                *_worst(decision),
            )
            for decision in decisions
        ],
    )
    click.echo()
    for place, reason in enumerate(reasons, start=1):
        click.echo(f"[{place}] {reason}")
    click.echo(
        "growth: max|W'| / max|W|. fp16: 65504 / max|W'|, under 1 overflows. "
        "storage: the output error that rounding W' predicts."
    )


def _place(decision: dict[str, Any]) -> str:
    action = action_in_words(decision["action"])
    elsewhere = ends_in(decision)
    return f"{action}: {shortened(elsewhere, 30)}" if elsewhere else action


def _worst(decision: Mapping[str, Any]) -> tuple[str, ...]:
    """Growth, condition, headroom and storage error of a layer, the worst over its nodes."""
    worst = worst_of(decision)
    return ("-",) * 4 if worst is None else tuple(map(number, worst))


def _tensors(tensors: Iterable[TensorInfo]) -> str:
    return ", ".join(
        f"{tensor.name} {tensor.dtype} ({', '.join(map(str, tensor.shape))})" for tensor in tensors
    )
