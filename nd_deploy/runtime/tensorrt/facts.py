"""What an ONNX file says of itself, read without its external weights."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from nd_deploy.bundle import onnx_file
from nd_deploy.bundle.files import sha256
from nd_deploy.bundle.manifest import TensorInfo
from nd_deploy.errors import GraphError
from nd_deploy.nd import dialect
from nd_deploy.node_layers import layers_on
from nd_deploy.targets.target import ORT_DOMAIN

_DOMAINS = (dialect.DOMAIN, ORT_DOMAIN)
# TensorRT's parser silently makes float32 of it.
_UNFAITHFUL = ("float64",)


@dataclass(frozen=True)
class NodeFacts:
    """A node of the graph.

    Attributes:
        label: its name, or what TensorRT calls it if it has none.
        op_type: its op.
        domain: of the op; "" for a standard one.
        output: the name of its first output.
        layers: the layers of the network that it holds, or its own label.
        has_body: whether the model has a function body for it.
        plugin_namespace: where it says that its plugin is; None if it does not.
        plugin_version: of that plugin; None if it does not say.
    """

    label: str
    op_type: str
    domain: str
    output: str
    layers: tuple[str, ...]
    has_body: bool
    plugin_namespace: str | None
    plugin_version: str | None

    @property
    def is_nd(self) -> bool:
        """Whether it is an ND layer that is left in the model."""
        return self.domain in _DOMAINS and self.op_type in dialect.OPS


@dataclass(frozen=True)
class ModelFacts:
    """An ONNX model.

    Attributes:
        path: its file.
        inputs: what it reads.
        nodes: of its graph, in order.
        precision: the dtypes of its weights, the most frequent first, joined by "+".
        sha256: the hash of its file, with those of its external weights worked in.
    """

    path: Path
    inputs: tuple[TensorInfo, ...]
    nodes: tuple[NodeFacts, ...]
    precision: str
    sha256: str


def read_facts(path: Path) -> ModelFacts:
    """Read what a model says of itself.

    Args:
        path: the ONNX file.

    Raises:
        GraphError: the file holds no model, lacks a file of weights, or has inputs that TensorRT
            would quietly read as something else.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, ValueError, OSError) as error:
        raise GraphError(
            f"{path} is no ONNX model: {error}", "convert the network again, or copy the file again"
        ) from error
    if not model.graph.output:
        raise GraphError(
            f"{path} holds an empty model", "convert the network again, or copy the file again"
        )
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = onnx_file.tensors(port for port in model.graph.input if port.name not in weights)
    for port in inputs:
        if port.dtype in _UNFAITHFUL:
            raise GraphError(
                f"input '{port.name}' of {path} is {port.dtype}, which TensorRT makes float32",
                "convert the network in float32",
            )
    bodies = {(function.domain, function.name) for function in model.functions}
    return ModelFacts(
        path,
        inputs,
        tuple(_node(node, bodies) for node in model.graph.node),
        onnx_file.precision(model),
        _hash(path, sorted(onnx_file.references(model))),
    )


def _node(node: onnx.NodeProto, bodies: set[tuple[str, str]]) -> NodeFacts:
    output = node.output[0] if node.output else ""
    label = node.name or f"node_of_{output}"
    texts = {a.name: a.s.decode() for a in node.attribute if a.type == onnx.AttributeProto.STRING}
    return NodeFacts(
        label,
        node.op_type,
        "" if node.domain == "ai.onnx" else node.domain,
        output,
        layers_on(node) or (label,),
        (node.domain, node.op_type) in bodies,
        texts.get("plugin_namespace"),
        texts.get("plugin_version"),
    )


def _hash(path: Path, references: list[str]) -> str:
    digest = sha256(path)
    for name in references:
        data = path.parent / name
        if not data.is_file():
            raise GraphError(
                f"{path} keeps weights in {name}, which is not beside it",
                "copy that file as well, or convert the network again",
            )
        digest = hashlib.sha256(f"{digest}{name}{sha256(data)}".encode()).hexdigest()
    return digest
