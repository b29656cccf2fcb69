"""The ND dialect: ONNX ops of domain "nd_deploy", one for each place where D can stand.

Every op has a function body in standard ops, so that any runtime with model-local functions runs
an unfolded network as it is. Ops that the TensorRT plugin library has say so on their nodes: with
these two attributes TensorRT takes the plugin where it is registered, and the body where not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx
from onnx import defs

from nd_deploy.nd.op_inference import INFERENCE
from nd_deploy.nd.ops import (
    CENTRE,
    CHANNEL_DECONV,
    CHANNEL_DECONV_LEFTOVER,
    CONV_ATTRIBUTES,
    DELINEAR,
    DOMAIN,
    DYNAMIC_OPS,
    FAST_DECONV,
    FAST_DECONV_TRANSPOSE,
    OPS,
    VERSION,
    WITH_RELU,
    Op,
)

__all__ = [
    "CENTRE",
    "CHANNEL_DECONV",
    "CHANNEL_DECONV_LEFTOVER",
    "CONV_ATTRIBUTES",
    "DELINEAR",
    "DOMAIN",
    "DYNAMIC",
    "FAST_DECONV",
    "FAST_DECONV_TRANSPOSE",
    "OPS",
    "PLUGIN_ATTRIBUTES",
    "VERSION",
    "WITH_RELU",
    "Op",
    "attach_functions",
    "dialect_nodes",
    "mark_for_plugins",
    "nodes_of",
    "register_schemas",
]

DYNAMIC = frozenset(op.name for op in DYNAMIC_OPS)
"""The ops that take their statistics from the batch."""

# Names and values that TensorRT's parser looks for.
PLUGIN_ATTRIBUTES = {"plugin_namespace": DOMAIN, "plugin_version": str(VERSION)}

_FLOATS = ["tensor(float)", "tensor(double)", "tensor(float16)", "tensor(bfloat16)"]


def attach_functions(model: onnx.ModelProto) -> None:
    """Give `model` a function body for every dialect op that it uses, and no other.

    Its nodes say where TensorRT finds the plugin, for the ops that have one.

    Args:
        model: changed in place; its import of the dialect is added or removed to match.
    """
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    foreign = [f for f in model.functions if f.domain != DOMAIN]
    mark_for_plugins(model)
    used = sorted({node.op_type for node in dialect_nodes(model)})
    del model.functions[:]
    model.functions.extend([*foreign, *(OPS[name].function(opset) for name in used)])
    imports = [o for o in model.opset_import if o.domain != DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(imports)
    if used:
        model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, VERSION))


def dialect_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """The dialect's nodes of a model: in its graph, in subgraphs, in other people's functions."""
    return nodes_of(model, DOMAIN)


def nodes_of(model: onnx.ModelProto, domain: str) -> Iterator[onnx.NodeProto]:
    """The nodes of one domain, wherever they are but in that domain's own functions."""
    foreign = [node for f in model.functions if f.domain != domain for node in f.node]
    for node in _with_nested([*model.graph.node, *foreign]):
        if node.domain == domain:
            yield node


def mark_for_plugins(model: onnx.ModelProto) -> None:
    """Say on every node whose op the plugin library has where TensorRT finds it, in place."""
    for node in dialect_nodes(model):
        if not OPS[node.op_type].plugin:
            continue
        known = {attribute.name for attribute in node.attribute}
        node.attribute.extend(
            onnx.helper.make_attribute(name, value)
            for name, value in PLUGIN_ATTRIBUTES.items()
            if name not in known
        )


def _with_nested(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _with_nested(graph.node)


def register_schemas() -> None:
    """Make the ops known to onnx's checker and shape inference in this process, once."""
    for op in OPS.values():
        if not defs.has(op.name, VERSION, DOMAIN):
            schema = _schema(op)
            schema.set_type_and_shape_inference_function(INFERENCE[op.name])
            defs.register_schema(schema)


def _schema(op: Op) -> defs.OpSchema:
    kinds = {name: getattr(defs.OpSchema.AttrType, op.kind(name)) for name in op.attributes}
    (x, meaning), *statistics = op.inputs
    return defs.OpSchema(
        op.name,
        DOMAIN,
        VERSION,
        op.doc,
        inputs=[
            defs.OpSchema.FormalParameter(x, "T", meaning),
            *(defs.OpSchema.FormalParameter(name, "S", doc) for name, doc in statistics),
        ],
        outputs=[defs.OpSchema.FormalParameter(name, "T", doc) for name, doc in op.outputs],
        type_constraints=[(name, _FLOATS, "") for name in ("TS" if statistics else "T")],
        attributes=[
            *(defs.OpSchema.Attribute(n, kind, required=True) for n, kind in kinds.items()),
            *(
                defs.OpSchema.Attribute(n, defs.OpSchema.AttrType.STRING, required=False)
                for n in PLUGIN_ATTRIBUTES
                if op.plugin
            ),
        ],
    )
