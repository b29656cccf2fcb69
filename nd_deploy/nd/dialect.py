"""The ND dialect: ONNX ops of domain "nd_deploy", one for each place where D can stand.

Every op has a function body in standard ops, so that any runtime with model-local functions runs
an unfolded network as it is.
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
    FAST_DECONV,
    FAST_DECONV_TRANSPOSE,
    OPS,
    VERSION,
    Op,
)

__all__ = [
    "CENTRE",
    "CHANNEL_DECONV",
    "CHANNEL_DECONV_LEFTOVER",
    "CONV_ATTRIBUTES",
    "DELINEAR",
    "DOMAIN",
    "FAST_DECONV",
    "FAST_DECONV_TRANSPOSE",
    "OPS",
    "VERSION",
    "Op",
    "attach_functions",
    "register_schemas",
]


def attach_functions(model: onnx.ModelProto) -> None:
    """Give `model` a function body for every dialect op that it uses, and no other.

    Args:
        model: changed in place; its import of the dialect is added or removed to match.
    """
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    foreign = [f for f in model.functions if f.domain != DOMAIN]
    nodes = _with_nested([*model.graph.node, *(node for f in foreign for node in f.node)])
    used = sorted({node.op_type for node in nodes if node.domain == DOMAIN})
    del model.functions[:]
    model.functions.extend([*foreign, *(OPS[name].function(opset) for name in used)])
    imports = [o for o in model.opset_import if o.domain != DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(imports)
    if used:
        model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, VERSION))


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
    kinds = dict.fromkeys(op.attributes, defs.OpSchema.AttrType.INTS)
    if "group" in kinds:
        kinds["group"] = defs.OpSchema.AttrType.INT
    return defs.OpSchema(
        op.name,
        DOMAIN,
        VERSION,
        op.doc,
        inputs=[defs.OpSchema.FormalParameter(name, "T", doc) for name, doc in op.inputs],
        outputs=[defs.OpSchema.FormalParameter("y", "T", "what the layer computes")],
        type_constraints=[
            ("T", ["tensor(float)", "tensor(double)", "tensor(float16)", "tensor(bfloat16)"], "")
        ],
        attributes=[
            defs.OpSchema.Attribute(name, kind, required=True) for name, kind in kinds.items()
        ],
    )
