"""Parses an ONNX model into a network of TensorRT, or says what the parser does not take."""

from __future__ import annotations

import re
from typing import Any

from nd_deploy.compat import trt as compat
from nd_deploy.compat.trt import TensorRT
from nd_deploy.errors import BackendError, GraphError
from nd_deploy.runtime.tensorrt.facts import ModelFacts, NodeFacts
from nd_deploy.runtime.tensorrt.log import Log, without_noise

Network = Any  # an INetworkDefinition
Builder = Any

_MEANING = re.compile(r'&& "([^"]+)"')

NEEDS_NO_GPU = (
    "build for TensorRT-RTX, which needs no GPU: pip install 'nd-deploy[rtx]', and --runtime "
    "tensorrt-rtx"
)


def make_builder(trt: TensorRT, logger: Any) -> Builder:  # noqa: ANN401 - an ILogger
    """Make a builder.

    Raises:
        BackendError: there is none to be had, which is so for TensorRT without a GPU.
    """
    name = compat.described(trt)
    try:
        return trt.Builder(logger)
    except (TypeError, RuntimeError) as error:
        raise BackendError(
            f"{name} cannot start to build: it needs a GPU, and finds none that it can use",
            f"build on the machine that is to run the engine, and see 'nd-deploy doctor'; or "
            f"{NEEDS_NO_GPU}",
        ) from error


def parse(trt: TensorRT, builder: Builder, logger: Any, facts: ModelFacts, log: Log) -> Network:  # noqa: ANN401
    """Parse a model into a strongly typed network.

    Args:
        trt: the module.
        builder: to make the network with.
        logger: TensorRT's.
        facts: of the model.
        log: what `logger` writes to.

    Returns:
        The network.

    Raises:
        GraphError: the parser refuses the model, in its own words.
    """
    network = builder.create_network(compat.network_flags(trt))
    parser = trt.OnnxParser(network, logger)
    since = len(log.messages)
    # By its path, so that weights in files beside it are found.
    parsed = parser.parse_from_file(str(facts.path))
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    if parsed and not errors and network.num_outputs:
        return network
    name = compat.described(trt)
    if not errors:
        raise GraphError(
            f"{name} refuses {facts.path}: {log.words(since)}",
            "check the model with onnx.checker.check_model(path, full_check=True)",
        )
    nodes = [_node_of(error, facts) for error in errors]
    raise GraphError(
        f"{name} refuses {facts.path}:\n"
        + "\n".join(
            f"  {_place(error, node)}: {_words(error)}"
            for error, node in zip(errors, nodes, strict=True)
        ),
        _remedy([node for node in nodes if node is not None]),
    )


def _node_of(error: Any, facts: ModelFacts) -> NodeFacts | None:  # noqa: ANN401
    """The graph's node in which the parser failed; in a function, the node that calls it."""
    index = error.node()
    return facts.nodes[index] if 0 <= index < len(facts.nodes) else None


def _place(error: Any, node: NodeFacts | None) -> str:  # noqa: ANN401
    if node is None:
        return "the model"
    operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    inside = error.node_operator()
    within = f", in its body at {inside}" if inside and inside != node.op_type else ""
    elsewhere = [layer for layer in node.layers if layer != node.label]
    holds = f" (which holds {', '.join(elsewhere)})" if elsewhere else ""
    return f"node '{node.label}', operator {operator}{holds}{within}"


def _words(error: Any) -> str:  # noqa: ANN401
    words = without_noise(error.desc()).replace("\n", "; ")
    # The parser quotes the condition that did not hold, with what it means in quotation marks.
    meant = _MEANING.search(words)
    said = meant[1] if meant else "it is not supported" if words in ("", "false") else words
    return f"{said} [{error.code().name}, {error.func()}]"


def _remedy(nodes: list[NodeFacts]) -> str:
    unknown = [node for node in nodes if node.domain and not node.has_body]
    nd = [node for node in unknown if node.is_nd]
    if nd:
        return (
            f"the model has no function body for {nd[0].op_type}, so that only the plugin can run "
            "it: load it with --plugin FILE ('nd-deploy plugin build' makes it) or with "
            "--python-plugin, or convert the network with --target inlined"
        )
    if unknown:
        domains = ", ".join(sorted({node.domain for node in unknown}))
        return (
            f"load the plugin library that has the operators of {domains} with --plugin FILE, or "
            "export the network with those operators written as standard ones"
        )
    if nodes:
        return (
            "export the network with other operators at that place; "
            "onnx.checker.check_model(path, full_check=True) tells whether the model is valid"
        )
    return "convert the network again, or copy the file again"
