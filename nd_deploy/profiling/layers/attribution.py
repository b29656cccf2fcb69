"""Which layer of the network a runtime's own layer computes, found out by its name.

Runtimes fuse nodes and give what comes of it a name of their own. How ONNX Runtime makes its names
was found out by running models in 1.31; what such a name does not tell is left untold.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from nd_deploy.node_layers import layers_on

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

# Behind the name of the tensor that a node gives in the blocked layout of the CPU.
_BLOCKED = re.compile(r"_nchwc(_token_\d+)?$")
# Before and behind the name of the first node of those that were fused.
_FUSED = re.compile(r"^fused |(/\w+Fusion/?|_token_\d+)$")
_BODY = re.compile(r"^_inlfunc_(?P<function>at\d+)_(?P<rest>.*)$")
_SEPARATORS = re.compile(r"[\s+(),\[\]{}]+")
# What TensorRT calls a layer of its own; its number may be the name of a module.
_UNNAMED = re.compile(r"\(Unnamed Layer\* \d+\)")
_RANGE = re.compile(r"\[(\S+?)\.\.\.(\S+?)\]")
_REFORMAT = "Reformatting CopyNode"

UNKNOWN = "unknown"
"""What runs in a layer of which its name does not tell that."""


@dataclass(frozen=True)
class Place:
    """What of the network a runtime's layer computes.

    Attributes:
        name: of the model's node, or the runtime's own where that is not known.
        op: what runs there.
        nd_layer: the ND layer that it belongs to, or None.
    """

    name: str
    op: str
    nd_layer: str | None


@dataclass(frozen=True)
class Attribution:
    """Finds what of a network a runtime's layer computes.

    Args:
        nodes: of the model that the runtime was given.
        nd_layers: the ND layers of the network, by their paths in it.
        bodies: the node of each function whose body the runtime writes out, by the function's name.
    """

    nodes: Sequence[NodeProto]
    nd_layers: Sequence[str]
    bodies: dict[str, NodeProto]

    def of_ort_node(self, name: str, op: str, others: Container[str] = ()) -> Place:
        """Of a node that ONNX Runtime ran.

        Args:
            name: its name.
            op: its op type.
            others: the names of all nodes that it ran, none of which can be part of this one.
        """
        body = _BODY.match(name)
        if body and body["function"] in self.bodies:
            node = self.bodies[body["function"]]
            return Place(f"{node.name}/{body['rest']}", op, self._layer_of(node))
        if _BLOCKED.search(name):
            chain = self._chain(_BLOCKED.sub("", name), op, others)
            ops = " + ".join([op, *(node.op_type for node in chain[1:])])
        else:
            chain, ops = self._named(name), op
        if not chain:
            return Place(name, op, nd_layer_of(name, self.nd_layers))
        return Place(chain[0].name, ops, self._layer_of(chain[0]))

    def of_engine_layer(self, name: str) -> Place:
        """Of a layer of a TensorRT engine, whose name holds those of the nodes fused into it.

        What lies between the two ends of a range of nodes is not told, nor which ND layer's work a
        layer does that holds several of them.
        """
        if name.startswith(_REFORMAT):
            return Place(name, "Reformat", None)
        ends = _RANGE.search(name)
        words = list(ends.groups()) if ends else _SEPARATORS.split(_UNNAMED.sub("", name))
        nodes = [self._by_name[word] for word in words if word in self._by_name]
        layers = {self._layer_at(word) for word in words}
        if not ends:
            layers.discard(None)
        return Place(
            name,
            " + ".join(node.op_type for node in nodes) or UNKNOWN,
            layers.pop() if len(layers) == 1 else None,
        )

    def _named(self, name: str) -> list[NodeProto]:
        """The node that a name without decorations is of."""
        while name not in self._by_name:
            bare = _FUSED.sub("", name)
            if bare == name:
                return []
            name = bare
        return [self._by_name[name]]

    def _chain(self, tensor: str, op: str, others: Container[str]) -> list[NodeProto]:
        """The nodes from one of a type to the one that gives a tensor, or the latter alone.

        One with a body may hold a node of that type.
        """
        last = self._givers.get(tensor)
        if last is None:
            return []
        chain = [last]
        while chain[0].op_type not in (op, *self.bodies):
            ways = [name for name in chain[0].input if name in self._givers]
            if len(ways) != 1 or f"{ways[0]}_nchwc" in others:
                return [last]
            chain.insert(0, self._givers[ways[0]])
        return chain

    def _layer_at(self, name: str) -> str | None:
        node = self._by_name.get(name)
        return nd_layer_of(name, self.nd_layers) if node is None else self._layer_of(node)

    def _layer_of(self, node: NodeProto) -> str | None:
        layers = layers_on(node)
        # Several have folded into the one whose node it is.
        own = nd_layer_of(node.name, layers or self.nd_layers)
        return layers[0] if own is None and len(layers) == 1 else own

    @cached_property
    def _by_name(self) -> dict[str, NodeProto]:
        return {node.name: node for node in self.nodes if node.name}

    @cached_property
    def _givers(self) -> dict[str, NodeProto]:
        return {name: node for node in self.nodes for name in node.output if name}


def attribution_of(model: ModelProto, nd_layers: Iterable[str]) -> Attribution:
    """What finds the layers of a model; its weights may be absent."""
    functions = {(function.domain, function.name) for function in model.functions}
    nodes = list(model.graph.node)
    bodies = {node.op_type: node for node in nodes if (node.domain, node.op_type) in functions}
    return Attribution(nodes, tuple(nd_layers), bodies)


def nd_layer_of(name: str, nd_layers: Iterable[str]) -> str | None:
    """The ND layer whose path a name begins with, the longest of several.

    Args:
        name: of a node, such as "layer1.0.conv2/Conv_7".
        nd_layers: paths of modules, such as "layer1.0.conv2".
    """
    fitting = [
        layer for layer in nd_layers if name == layer or name.startswith((f"{layer}/", f"{layer}."))
    ]
    return max(fitting, key=len, default=None)


def tell_bodies_apart(model: ModelProto) -> bool:
    """Give every node that has a function body a function of its own, called "at0", "at1", ...

    ONNX Runtime names the nodes of a body after its function alone, so that those of two layers
    could not be told from each other. What is computed stays the same.

    Args:
        model: changed in place.

    Returns:
        Whether there was any such node.
    """
    import onnx

    functions = {(function.domain, function.name): function for function in model.functions}
    copies = []
    for place, node in enumerate(model.graph.node):
        function = functions.get((node.domain, node.op_type))
        if function is not None:
            copy = onnx.FunctionProto()
            copy.CopyFrom(function)
            copy.name = node.op_type = f"at{place}"
            copies.append(copy)
    # Bodies may call each other.
    model.functions.extend(copies)
    return bool(copies)
