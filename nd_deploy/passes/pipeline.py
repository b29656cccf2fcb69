"""The passes in their order, and what became of every layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnx
import onnx_graphsurgeon as gs

from nd_deploy.errors import InputError
from nd_deploy.nd import dialect
from nd_deploy.passes.base import Action, Decision, Pass
from nd_deploy.passes.cleanup import Cleanup
from nd_deploy.passes.fold_batch_norm import FoldBatchNorm
from nd_deploy.passes.fold_centre import FoldCentre
from nd_deploy.passes.fold_constants import FoldConstants
from nd_deploy.passes.fold_delinear import FoldDelinear
from nd_deploy.passes.fold_fast_deconv import FoldFastDeconv
from nd_deploy.passes.leave_to_plugin import LeaveToPlugin
from nd_deploy.passes.lower_centre import LowerCentre
from nd_deploy.passes.lower_channel_deconv import LowerChannelDeconv
from nd_deploy.passes.model import load, store
from nd_deploy.passes.push_channel_deconv import PushChannelDeconv
from nd_deploy.threads import single_threaded_numpy

PASSES: Sequence[Pass] = (
    # Identity and Dropout hide neighbours from every pass behind.
    Cleanup(),
    # A weight that is computed from parameters is a parameter to every pass behind.
    FoldConstants(),
    # These become plain Conv and Gemm, which the next two fold into.
    FoldFastDeconv(),
    FoldDelinear(),
    # Before ChannelDeconv, which then finds a convolution in front of it instead of a BN.
    FoldBatchNorm(),
    # An affine map behind a ChannelDeconv ends in one, which would be in its way.
    FoldCentre(),
    PushChannelDeconv(),
    # Only what the pass above has refused is left.
    LowerChannelDeconv(),
    # A pushed ChannelDeconv may have stood between a layer and its BN.
    FoldBatchNorm(),
    # The same holds of what centres its output.
    FoldCentre(),
    LowerCentre(),
    Cleanup(),
)

CONV, PLUGIN = "conv", "plugin"
WHITENINGS = (CONV, PLUGIN)
"""What becomes of a ChannelDeconv that no other layer takes: a 1x1 Conv, or the plugin's op."""


def passes_for(whitening: str) -> Sequence[Pass]:
    """`PASSES`, with the last resort for a ChannelDeconv as asked: one of `WHITENINGS`.

    Raises:
        InputError: `whitening` is none of them.
    """
    if whitening not in WHITENINGS:
        raise InputError(
            f"whitening {whitening!r} is not known", f"choose one of {', '.join(WHITENINGS)}"
        )
    if whitening == CONV:
        return PASSES
    return [LeaveToPlugin() if isinstance(p, LowerChannelDeconv) else p for p in PASSES]


@dataclass(frozen=True)
class Folded:
    """A model after all passes.

    Attributes:
        model: deployable; float32 like the model it came from.
        decisions: one for each ND layer and each folded BatchNormalization, in graph order.
    """

    model: onnx.ModelProto
    decisions: Sequence[Decision]


def run_passes(model: onnx.ModelProto, whitening: str = CONV) -> Folded:
    """Fold a model of the ND dialect, in float64, and cast it once at the end.

    Args:
        model: float32, from `nd_deploy.export`; not changed.
        whitening: what becomes of a ChannelDeconv that no other layer takes, "conv" or "plugin".

    Returns:
        The folded model and every decision.

    Raises:
        GraphError: the model is not valid ONNX.
        InputError: `whitening` is neither.
    """
    passes = passes_for(whitening)
    graph = load(model)
    decisions = run_on_graph(graph, passes)
    return Folded(store(graph, decisions=decisions), decisions)


def run_on_graph(graph: gs.Graph, passes: Sequence[Pass] = PASSES) -> list[Decision]:
    """Run `passes` over a graph in the passes' form, in place; see `run_passes`."""
    order = {node.name: index for index, node in enumerate(graph.nodes)}
    decisions: list[Decision] = []
    refusals: dict[str, list[str]] = {}
    for rewrite in passes:
        with single_threaded_numpy():
            result = rewrite(graph)
        decisions.extend(_explained(decision, refusals) for decision in result.decisions)
        for layer, refusal in result.refusals:
            refusals.setdefault(layer, []).append(refusal.reason)
    placed = {name for decision in decisions for name in decision.into}
    decisions.extend(d for d in _kept(graph, refusals) if d.layer not in placed)
    return sorted(decisions, key=lambda decision: order.get(decision.layer, len(order)))


def _explained(decision: Decision, refusals: dict[str, list[str]]) -> Decision:
    """Say of a layer that has a lesser place why the better ones were refused."""
    reasons = refusals.get(decision.layer)
    lesser = (Action.LOWERED, Action.SUBTRACTED, Action.PLUGIN)
    if decision.action not in lesser or not reasons:
        return decision
    return replace(decision, reason=f"{decision.reason} ({'; '.join(dict.fromkeys(reasons))})")


def _kept(graph: gs.Graph, refusals: dict[str, list[str]]) -> list[Decision]:
    return [
        _left(node, "; ".join(dict.fromkeys(refusals.get(node.name, ["no pass looked at it"]))))
        for node in graph.nodes
        if node.domain == dialect.DOMAIN
    ] + [
        _left(node, "no pass looks into subgraphs")
        for subgraph in graph.subgraphs(recursive=True)
        for node in subgraph.nodes
        if node.domain == dialect.DOMAIN
    ]


def _left(node: gs.Node, reason: str) -> Decision:
    """What is said of a node that no pass has replaced."""
    action = Action.KEPT
    if node.op in dialect.DYNAMIC:
        action, reason = Action.BATCH, "D is computed anew from every batch, so nothing can fold"
    user = _user(node)
    into = (node.name,) if user is node else (node.name, user.name)
    return Decision(user.name, node.op, action, reason, "pipeline", into)


def _user(node: gs.Node) -> gs.Node:
    """The node that gives the layer's output: the one that uses the bias computed, where one is."""
    users = node.outputs[-1].outputs if len(node.outputs) > 1 else ()
    return users[0] if users else node
