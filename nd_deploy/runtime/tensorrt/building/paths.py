"""Which path each ND layer took into a parsed network, compared with what was asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nd_deploy.compat import trt as compat
from nd_deploy.compat.trt import PluginId, TensorRT
from nd_deploy.errors import BackendError
from nd_deploy.nd.ops import OPS
from nd_deploy.runtime.tensorrt.building.precision import layers_of
from nd_deploy.runtime.tensorrt.building.request import BODY, PLUGIN, BuildRequest
from nd_deploy.runtime.tensorrt.facts import NodeFacts

FOLDED = "folded"
STANDARD = "standard"
ABSENT = "absent"

_FOLDED_ACTIONS = ("folded", "forward", "backward", "centred")
_PLUGIN_KINDS = ("PLUGIN", "PLUGIN_V2", "PLUGIN_V3")


@dataclass(frozen=True)
class LayerPath:
    """What one ND layer is in the network.

    Attributes:
        layer: its path in the user's network.
        op_type: the dialect op that it was.
        path: "folded" into other layers' weights, "standard" operators that the conversion wrote,
            the function "body", the "plugin", or "absent" if the parser dropped it.
        asked: the path that it had to take.
        nodes: the nodes of the model that hold it.
        plugin: the plugin's namespace, name and version, if that is what it is.
    """

    layer: str
    op_type: str
    path: str
    asked: str
    nodes: tuple[str, ...]
    plugin: str | None = None


def read_paths(
    trt: TensorRT,
    network: Any,  # noqa: ANN401 - an INetworkDefinition
    nodes: Iterable[NodeFacts],
    request: BuildRequest,
) -> tuple[LayerPath, ...]:
    """Find every ND layer in the network.

    Args:
        trt: the module.
        network: parsed from the model.
        nodes: of the model's graph.
        request: what was asked, and what the bundle knows of its layers.

    Returns:
        One entry for each ND node, and one for each layer of which no node is left.
    """
    left = [node for node in nodes if node.is_nd]
    layers = layers_of(network)
    found = [_node_path(trt, layers, node, request) for node in left]
    held = {layer for path in found for layer in path.layer.split(",")}
    names = {node.label for node in left}
    gone = [
        decision
        for decision in request.decisions
        if decision["layer"] not in held and not names.intersection(decision["into"])
    ]
    return (*map(_gone, gone), *found)


def require_asked(
    trt: TensorRT,
    paths: Sequence[LayerPath],
    nodes: Iterable[NodeFacts],
    registered: Iterable[PluginId],
) -> None:
    """Refuse a network in which a layer takes another path than was asked.

    Args:
        trt: the module.
        paths: from `read_paths`.
        nodes: of the model's graph.
        registered: plugins.

    Raises:
        BackendError: one does; it is named, with why.
    """
    by_label = {node.label: node for node in nodes}
    for path in paths:
        if path.path == path.asked:
            continue
        node = by_label[path.nodes[0]]
        reason, remedy = _why(trt, path, node, [p for p in registered if p.name == node.op_type])
        raise BackendError(
            f"{node.op_type} '{node.label}' was to run as {path.asked}, and is {path.path}: "
            f"{reason}",
            remedy,
        )


def _node_path(
    trt: TensorRT,
    layers: Sequence[Any],
    node: NodeFacts,
    request: BuildRequest,
) -> LayerPath:
    default = request.expected_default or _default(node.op_type, request.has_plugins)
    asked = request.expected.get(node.label, default)
    plugin = _plugin(trt, layers, node)
    path = PLUGIN if plugin else BODY if _has_body(layers, node) else ABSENT
    name = str(plugin) if plugin else None
    return LayerPath(",".join(node.layers), node.op_type, path, asked, (node.label,), name)


def _default(op_type: str, has_plugins: bool) -> str:
    return PLUGIN if has_plugins and OPS[op_type].plugin else BODY


def _plugin(trt: TensorRT, layers: Sequence[Any], node: NodeFacts) -> PluginId | None:
    for layer in layers:
        if layer.type.name not in _PLUGIN_KINDS:
            continue
        if layer.name == node.label or node.output in _outputs(layer):
            known = compat.plugin_of(trt, layer) if layer.type.name == "PLUGIN_V3" else None
            asked = (node.op_type, node.plugin_version or "1", node.plugin_namespace or "")
            return known or PluginId(*asked)
    return None


def _has_body(layers: Sequence[Any], node: NodeFacts) -> bool:
    """Whether layers stand for the node: the parser notes on each which call it came from."""
    call = f"{node.label} ({node.op_type})"
    return any(node.output in _outputs(layer) or call in layer.metadata for layer in layers)


def _outputs(layer: Any) -> list[str]:  # noqa: ANN401 - an ILayer
    outputs = (layer.get_output(index) for index in range(layer.num_outputs))
    return [output.name for output in outputs if output is not None]


def _gone(decision: Mapping[str, Any]) -> LayerPath:
    path = FOLDED if decision["action"] in _FOLDED_ACTIONS else STANDARD
    into = tuple(decision["into"])
    return LayerPath(decision["layer"], decision["op_type"], path, path, into)


def _why(
    trt: TensorRT, path: LayerPath, node: NodeFacts, registered: list[PluginId]
) -> tuple[str, str]:
    """Why a node took another path than was asked, and what to do about it."""
    if path.asked == BODY:
        return (
            f"the plugin {path.plugin} is registered and takes the node before its body",
            "build without --plugin and --python-plugin, or say that the plugin is what you want: "
            "--expect plugin",
        )
    body = "; or accept the function body: --expect body"
    again = f"convert the network again with this nd-deploy{body}"
    if not registered:
        return (
            "no plugin of that name is registered",
            "give a library that has it with --plugin ('nd-deploy plugin check FILE' shows what "
            f"one has, 'nd-deploy plugin build' makes one){body}",
        )
    there = ", ".join(sorted(map(str, registered)))
    rule = compat.precedence(trt)
    if rule is compat.Precedence.BODY:
        return rule.value, f"convert the network with --target 'tensorrt<=10.6'{body}"
    if node.plugin_namespace is None:
        return f"the node does not say where its plugin is, and {rule.value}", again
    wanted = PluginId(node.op_type, node.plugin_version or "1", node.plugin_namespace)
    return f"the node asks for {wanted}, and what is registered is {there}", again
