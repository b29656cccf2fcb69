"""What became of a layer, in the words that a user reads; decisions are as a bundle holds them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Worst(NamedTuple):
    """The worst of a layer's certificates, over the nodes that hold it; see `Certificate`."""

    growth: float
    condition: float
    float16_headroom: float
    storage_error: float


def layer_type(op_type: str) -> str:
    """A layer's class in PyTorch, from its op in the dialect."""
    return op_type.removeprefix("ND").removesuffix("Leftover").removesuffix("Dynamic")


def action_in_words(action: str) -> str:
    """A decision's action as a user reads it; one that this version lacks is left as it is."""
    from nd_deploy.passes.base import Action

    return Action[action.upper()].value if action.upper() in Action.__members__ else action


def ends_in(decision: Mapping[str, Any]) -> list[str]:
    """The nodes that hold a layer, except one of its own name."""
    return [name for name in decision["into"] if name != decision["layer"]]


def worst_of(decision: Mapping[str, Any]) -> Worst | None:
    """The worst figures of a layer, or None where no weight of it was changed."""
    certificates = decision["certificates"]
    if not certificates:
        return None

    def each(name: str) -> Iterable[float]:
        return (certificate.get(name, math.nan) for certificate in certificates)

    return Worst(
        growth=max(each("growth")),
        condition=max(each("condition")),
        float16_headroom=min(each("float16_headroom")),
        storage_error=max(each("storage_error")),
    )
