"""The layers of two rows beside each other: the same network before and after the fold."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from nd_deploy.profiling.contestant import Contestant
from nd_deploy.profiling.figures import LayerTime
from nd_deploy.profiling.layers.groups import summed
from nd_deploy.profiling.results import ModelRecord
from nd_deploy.report.page.names import Named

OUTSIDE = "(no ND layer)"
"""What the time of nodes is listed under that belong to no ND layer."""


@dataclass(frozen=True)
class LayerPair:
    """Two rows that differ in their model alone, or one that has no such partner.

    Attributes:
        before: the baseline's, or None.
        after: the other.
        seconds: by layer, in the order of the network, before and after; None where the row has no
            such layer.
    """

    before: Named | None
    after: Named
    seconds: Mapping[str, tuple[float | None, float | None]]


def layer_pairs(rows: Sequence[Named], models: Iterable[ModelRecord]) -> list[LayerPair]:
    """Pair the rows whose layers were measured.

    Args:
        rows: of a measurement.
        models: that took part; of two, the one that is no bundle comes before.

    Returns:
        A pair for every row but those that the others are paired with.
    """
    bundles = {model.name for model in models if model.kind == "bundle"}
    groups: dict[Contestant, list[Named]] = {}
    for named in rows:
        if named.row.layers:
            groups.setdefault(replace(named.row.contestant, model=""), []).append(named)
    return [pair for group in groups.values() for pair in _pairs_of(group, bundles)]


def _pairs_of(group: Sequence[Named], bundles: Collection[str]) -> list[LayerPair]:
    if len(group) == 1:
        return [_pair(None, group[0])]
    before = _baseline(group, bundles)
    return [_pair(before, after) for after in group if after is not before]


def _baseline(group: Sequence[Named], bundles: Collection[str]) -> Named:
    over = {named.row.ratio.over for named in group if named.row.ratio is not None}
    compared = [named for named in group if str(named.row.contestant) in over]
    others = [named for named in group if named.row.contestant.model not in bundles]
    return [*compared, *others, *group][0]


def _pair(before: Named | None, after: Named) -> LayerPair:
    layers = [() if named is None else named.row.layers for named in (before, after)]
    known = any(layer.nd_layer is not None for each in layers for layer in each)
    old, new = (summed(each, _nd_layer if known else _name) for each in layers)
    names = sorted({**old, **new}, key=lambda name: name == OUTSIDE)
    return LayerPair(before, after, {name: (old.get(name), new.get(name)) for name in names})


def _nd_layer(layer: LayerTime) -> str:
    return layer.nd_layer or OUTSIDE


def _name(layer: LayerTime) -> str:
    return layer.name
