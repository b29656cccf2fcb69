"""The error of the deployed model layer by layer, to find where it first goes wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from nd_deploy.nd.dialect import WITH_RELU
from nd_deploy.parity.measure import backend_budget, relative_error
from nd_deploy.parity.reference import Reference, sample
from nd_deploy.runtime.choose import OpenRunner


@dataclass(frozen=True)
class LayerError:
    """One layer of the deployed model against PyTorch in float64.

    Attributes:
        layer: its path in the network.
        node: the node of the deployed model whose output it is.
        error: max|y - truth| / max|truth| over the sampled entries.
        budget: by the rule of the backend gate, from PyTorch's own float32 error in this layer.
    """

    layer: str
    node: str
    error: float
    budget: float

    @property
    def passed(self) -> bool:
        """Whether the error is within the budget."""
        return self.error <= self.budget


def compare_layers(
    model: onnx.ModelProto,
    decisions: Sequence[Mapping[str, Any]],
    reference: Reference,
    open_runner: OpenRunner,
) -> list[LayerError]:
    """Compare every layer whose output is still a tensor of the deployed model.

    The runtime's own optimisations are off, since they would fuse those tensors away.

    Args:
        model: the deployed model; not changed.
        decisions: of the bundle.
        reference: of the bundle.
        open_runner: opens it in the runtime to run it in.

    Returns:
        One entry a layer, in graph order.
    """
    nodes = {node.name: node for node in model.graph.node}
    carriers = {
        layer: nodes[name]
        for layer, name in _carriers(decisions).items()
        if layer in reference.layers
        and name in nodes
        # The activation that is in such a node is not part of the layer.
        and nodes[name].op_type not in WITH_RELU.values()
    }
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    known = {output.name for output in exposed.graph.output}
    for node in carriers.values():
        if node.output[0] not in known:
            exposed.graph.output.append(onnx.ValueInfoProto(name=node.output[0]))
            known.add(node.output[0])
    outputs = open_runner(exposed, optimise=False).run(reference.inputs)
    return [
        LayerError(
            layer,
            node.name,
            relative_error(sample(outputs[node.output[0]]), reference.layers[layer].truth),
            backend_budget(reference.layers[layer].torch_error)[0],
        )
        for layer, node in carriers.items()
    ]


def _carriers(decisions: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Which node's output is which layer's output.

    A layer folded backward gives its output to the node in front, which then no longer computes
    its own; a layer folded forward has no output any more.
    """
    taken_over = {name for d in decisions if d["action"] == "backward" for name in d["into"]}
    carriers = {}
    for decision in decisions:
        action, into = decision["action"], decision["into"]
        stands = action in ("folded", "lowered", "plugin", "batch", "kept")
        own_output = stands and into[0] not in taken_over
        if own_output or action == "backward":
            carriers[decision["layer"]] = into[-1]
    return carriers
