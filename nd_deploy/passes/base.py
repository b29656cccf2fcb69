"""What a pass is, and how a graph is held between passes.

Between passes a graph is an onnx-graphsurgeon graph, and what a pass has computed stays in it as
float64: `store` casts once. At any point `store` gives a valid model that runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import onnx_graphsurgeon as gs

from nd_deploy.fold.certificate import Certificate
from nd_deploy.nd import dialect


class Action(str, Enum):
    """Where an ND layer ended up, best first."""

    FOLDED = "folded into itself"
    FORWARD = "folded forward"
    BACKWARD = "folded backward"
    CENTRED = "folded forward, mean subtraction kept"
    SUBTRACTED = "kept as a subtraction"
    LOWERED = "lowered to a 1x1 convolution"
    PLUGIN = "left to the plugin"
    BATCH = "whitened by each batch's statistics"
    KEPT = "kept as it is"


@dataclass(frozen=True)
class Decision:
    """What was decided about one ND layer (or batch normalisation), and why.

    Attributes:
        layer: the layer's path in the network, such as "features.0".
        op_type: the dialect op it was, such as "NDFastDeconv".
        action: where it ended up.
        reason: one sentence; for KEPT, why each better place was refused.
        pass_name: the pass that decided.
        into: names of the nodes that now hold the layer, empty if none do.
        certificates: the folded weight's record for each node of `into` whose weight changed.
    """

    layer: str
    op_type: str
    action: Action
    reason: str
    pass_name: str
    into: tuple[str, ...] = ()
    certificates: tuple[Certificate, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The decision as JSON-ready fields."""
        return {
            "layer": self.layer,
            "op_type": self.op_type,
            "action": self.action.name.lower(),
            "reason": self.reason,
            "pass": self.pass_name,
            "into": list(self.into),
            "certificates": [c.as_dict() for c in self.certificates],
        }


@dataclass(frozen=True)
class Refusal:
    """Why a rewrite does not apply. A value, so that the next better place can be tried."""

    reason: str


@dataclass(frozen=True)
class PassResult:
    """What one pass did to the graph it was given.

    Attributes:
        pass_name: the pass.
        decisions: one for each layer that it placed.
        refusals: (layer, refusal) for each layer that it looked at and left alone.
    """

    pass_name: str
    decisions: Sequence[Decision] = ()
    refusals: Sequence[tuple[str, Refusal]] = ()


class Pass(Protocol):
    """A rewrite of the graph, in place; `name` is what it is called in reports."""

    name: str

    def __call__(self, graph: gs.Graph) -> PassResult:
        """Rewrite `graph` and say what was done."""
        ...


class NodePass(ABC):
    """A pass that looks at nodes of some op types one by one.

    Attributes:
        name: what the pass is called in reports.
        op_types: the op types that it looks at.
    """

    name: str
    op_types: tuple[str, ...]

    @abstractmethod
    def place(self, graph: gs.Graph, node: gs.Node) -> Decision | Refusal:
        """Rewrite one node, or change nothing and say why."""

    def __call__(self, graph: gs.Graph) -> PassResult:
        """Rewrite `graph` in place.

        Nodes are taken last first: where one is folded into a linear layer further on, a node in
        front of it may then reach that layer too.
        """
        decisions: list[Decision] = []
        refusals: list[tuple[str, Refusal]] = []
        domains = (None, "", dialect.DOMAIN)
        known = [n for n in graph.nodes if n.op in self.op_types and n.domain in domains]
        for node in reversed(known):
            result = self.place(graph, node)
            if isinstance(result, Refusal):
                refusals.append((node.name, result))
            else:
                decisions.append(result)
        return PassResult(self.name, decisions[::-1], refusals[::-1])
