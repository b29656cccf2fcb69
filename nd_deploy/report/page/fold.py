"""What became of each ND layer of a bundle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from nd_deploy.bundle import Bundle
from nd_deploy.fold.decisions import action_in_words, ends_in, layer_type, worst_of
from nd_deploy.page.markup import bullets, details, paragraph, section
from nd_deploy.report.numbers import significant
from nd_deploy.report.page.pieces import table

# Of more, a table that is always open would hide what comes below it.
_SHOWN = 12


def fold_section(bundle: Bundle) -> str:
    """The decisions with their reasons and certificates."""
    decisions = bundle.decisions
    if not decisions:
        return section("Fold", paragraph("The network has no ND layer."), name="fold")
    counts = Counter(action_in_words(decision["action"]) for decision in decisions)
    whole = _decisions(decisions)
    many = len(decisions) > _SHOWN
    return section(
        "Fold",
        paragraph(
            f"{len(decisions)} layers; "
            + ", ".join(f"{action}: {count}" for action, count in counts.items())
            + "."
        ),
        details("Layer by layer", whole) if many else whole,
        _reasons(decisions),
        name="fold",
    )


def _decisions(decisions: Sequence[Mapping[str, Any]]) -> str:
    return table(
        "Growth: max|W'| / max|W|. fp16: 65504 / max|W'|, under 1 overflows. Storage: the error of "
        "the output that rounding W' predicts.",
        ("layer", "was", "decision", "into", ">growth", ">cond(D)", ">fp16", ">storage"),
        [
            (
                decision["layer"] or "(the network)",
                layer_type(decision["op_type"]),
                action_in_words(decision["action"]),
                ", ".join(ends_in(decision)),
                *_certificate(decision),
            )
            for decision in decisions
        ],
    )


def _certificate(decision: Mapping[str, Any]) -> tuple[str, ...]:
    worst = worst_of(decision)
    if worst is None:
        return ("",) * 4
    return (
        significant(worst.growth),
        significant(worst.condition),
        significant(worst.float16_headroom),
        f"{worst.storage_error:.1e}",
    )


def _reasons(decisions: Sequence[Mapping[str, Any]]) -> str:
    """Each reason once, with the layers that it is of."""
    groups: dict[str, list[str]] = {}
    for decision in decisions:
        groups.setdefault(decision["reason"], []).append(decision["layer"])
    return details("Why", bullets(f"{reason}: {', '.join(of)}" for reason, of in groups.items()))
