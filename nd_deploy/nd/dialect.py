"""The ONNX ops of domain "nd_deploy", one for each place where D can stand.

Every op has a function body in standard ops, so that any runtime with model-local functions runs
an unfolded network as it is. TensorRT matches built-in ops by name and ignores the domain, hence
the ND prefix. An ONNX function has no optional inputs, so a ChannelDeconv with leftover channels
is an op of its own, and a layer without a bias carries zeros.

The formulas are those of `nd_deploy.fold.algebra`, which has them with their sources.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import onnx
from onnx import defs, parser, shape_inference

DOMAIN = "nd_deploy"
VERSION = 1

FAST_DECONV = "NDFastDeconv"
DELINEAR = "NDDelinear"
CHANNEL_DECONV = "NDChannelDeconv"
CHANNEL_DECONV_LEFTOVER = "NDChannelDeconvLeftover"

CONV_ATTRIBUTES = ("kernel_shape", "strides", "pads", "dilations", "group")


@dataclass(frozen=True)
class Op:
    """One dialect op.

    Attributes:
        name: the op type.
        doc: what it computes.
        inputs: (name, meaning with shape), in order; all share one float type.
        attributes: names, all of them required; "group" is an int, the others are ints.
        body: the function's nodes as ONNX text, over its inputs and the output y.
    """

    name: str
    doc: str
    inputs: tuple[tuple[str, str], ...]
    attributes: tuple[str, ...]
    body: str

    def function(self, opset: int) -> onnx.FunctionProto:
        """The body as a model-local function against standard ops of `opset`.

        The opset has to be the model's own: inliners skip a function that differs.
        """
        attributes = f"<{', '.join(self.attributes)}>" if self.attributes else ""
        inputs = ", ".join(name for name, _ in self.inputs)
        return parser.parse_function(
            f'<domain: "{DOMAIN}", opset_import: ["": {opset}]>\n'
            f"{self.name} {attributes} ({inputs}) => (y)\n{{{self.body}}}"
        )


_X = ("x", "(N, C, ...): what the layer reads")
_WHITENING = (("mean", "running mean, (F,)"), ("deconv", "running D, (F, F)"))

OPS: dict[str, Op] = {
    op.name: op
    for op in (
        Op(
            FAST_DECONV,
            "Convolution of whitened patches: conv(x, W (D ⊗ I), b - W (D ⊗ I) mean).",
            (
                _X,
                ("weight", "(O, C / group, *kernel)"),
                ("bias", "(O,)"),
                ("mean", "running mean, (group, F)"),
                ("deconv", "running D, (group, F, F)"),
            ),
            CONV_ATTRIBUTES,
            """
            rest = Constant <value_ints: ints = [-1]> ()
            outputs = Shape <start: int = 0, end: int = 1> (weight)
            groups = Shape <start: int = 0, end: int = 1> (deconv)
            features = Shape <start: int = 1, end: int = 2> (deconv)
            outputs_a_group = Div (outputs, groups)
            blocks = Concat <axis: int = 0> (groups, outputs_a_group, features, rest)
            w_blocks = Reshape (weight, blocks)
            w_rows = Transpose <perm: ints = [0, 1, 3, 2]> (w_blocks)
            block_axis = Constant <value_ints: ints = [1]> ()
            d_each = Unsqueeze (deconv, block_axis)
            w_whitened = MatMul (w_rows, d_each)
            mean_axes = Constant <value_ints: ints = [1, 2]> ()
            m_each = Unsqueeze (mean, mean_axes)
            wm = Mul (w_whitened, m_each)
            sum_axes = Constant <value_ints: ints = [2, 3]> ()
            wm_sum = ReduceSum <keepdims: int = 0> (wm, sum_axes)
            correction = Reshape (wm_sum, rest)
            b_folded = Sub (bias, correction)
            w_strided = Transpose <perm: ints = [0, 1, 3, 2]> (w_whitened)
            w_shape = Shape (weight)
            w_folded = Reshape (w_strided, w_shape)
            y = Conv <kernel_shape: ints = @kernel_shape, strides: ints = @strides,
                      pads: ints = @pads, dilations: ints = @dilations, group: int = @group>
                     (x, w_folded, b_folded)
            """,
        ),
        Op(
            DELINEAR,
            "Linear layer of whitened features: x (W (I ⊗ D))^T + b - W (I ⊗ D) mean.",
            (("x", "(..., I)"), ("weight", "(O, I)"), ("bias", "(O,)"), *_WHITENING),
            (),
            """
            rest = Constant <value_ints: ints = [-1]> ()
            outputs = Shape <start: int = 0, end: int = 1> (weight)
            features = Shape <start: int = 0, end: int = 1> (deconv)
            blocks = Concat <axis: int = 0> (outputs, rest, features)
            w_blocks = Reshape (weight, blocks)
            w_whitened = MatMul (w_blocks, deconv)
            wm = Mul (w_whitened, mean)
            sum_axes = Constant <value_ints: ints = [1, 2]> ()
            correction = ReduceSum <keepdims: int = 0> (wm, sum_axes)
            b_folded = Sub (bias, correction)
            w_shape = Shape (weight)
            w_folded = Reshape (w_whitened, w_shape)
            w_columns = Transpose <perm: ints = [1, 0]> (w_folded)
            product = MatMul (x, w_columns)
            y = Add (product, b_folded)
            """,
        ),
        Op(
            CHANNEL_DECONV,
            "Whitened channels, C a multiple of F: y = (D ⊗ I) (x - mean ⊗ 1) at each position.",
            (_X, *_WHITENING),
            (),
            """
            same_batch = Constant <value_ints: ints = [0]> ()
            rest = Constant <value_ints: ints = [-1]> ()
            features = Shape <start: int = 0, end: int = 1> (deconv)
            blocks = Concat <axis: int = 0> (same_batch, features, rest)
            x_blocks = Reshape (x, blocks)
            position_axis = Constant <value_ints: ints = [1]> ()
            m_column = Unsqueeze (mean, position_axis)
            x_centred = Sub (x_blocks, m_column)
            y_blocks = MatMul (deconv, x_centred)
            x_shape = Shape (x)
            y = Reshape (y_blocks, x_shape)
            """,
        ),
        Op(
            CHANNEL_DECONV_LEFTOVER,
            "As NDChannelDeconv for the first floor(C / F) F channels; "
            "(x - leftover_mean) leftover_scale for the others.",
            (
                _X,
                *_WHITENING,
                ("leftover_mean", "(1,)"),
                ("leftover_scale", "1 / sqrt(running_var + eps), (1,)"),
            ),
            (),
            """
            same_batch = Constant <value_ints: ints = [0]> ()
            rest = Constant <value_ints: ints = [-1]> ()
            one = Constant <value_ints: ints = [1]> ()
            features = Shape <start: int = 0, end: int = 1> (deconv)
            channels = Shape <start: int = 1, end: int = 2> (x)
            groups = Div (channels, features)
            whitened = Mul (groups, features)
            x_head = Slice (x, same_batch, whitened, one)
            x_tail = Slice (x, whitened, channels, one)
            blocks = Concat <axis: int = 0> (same_batch, features, rest)
            x_blocks = Reshape (x_head, blocks)
            m_column = Unsqueeze (mean, one)
            x_centred = Sub (x_blocks, m_column)
            y_blocks = MatMul (deconv, x_centred)
            head_shape = Shape (x_head)
            y_head = Reshape <allowzero: int = 1> (y_blocks, head_shape)
            tail_centred = Sub (x_tail, leftover_mean)
            y_tail = Mul (tail_centred, leftover_scale)
            y = Concat <axis: int = 1> (y_head, y_tail)
            """,
        ),
    )
}


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
            schema.set_type_and_shape_inference_function(_INFERENCE[op.name])
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


def _infer_same_shape(context: shape_inference.InferenceContext) -> None:
    x = context.get_input_type(0)
    if x is not None:
        context.set_output_type(0, x)


def _infer_linear(context: shape_inference.InferenceContext) -> None:
    output = context.get_input_type(0)
    if output is None:
        return
    dims = output.tensor_type.shape.dim
    if dims:
        dims[-1].CopyFrom(_outputs(context))
    context.set_output_type(0, output)


def _infer_conv(context: shape_inference.InferenceContext) -> None:
    output = context.get_input_type(0)
    if output is None:
        return
    dims = output.tensor_type.shape.dim
    kernel, strides, pads, dilations = (_ints(context, name) for name in CONV_ATTRIBUTES[:-1])
    sizes = {len(kernel), len(strides), len(dilations), len(pads) / 2}
    if sizes != {len(dims) - 2 if dims else len(kernel)}:
        raise shape_inference.InferenceError(
            f"{FAST_DECONV} has an input of {len(dims)} axes, kernel_shape {kernel}, "
            f"strides {strides}, pads {pads} and dilations {dilations}"
        )
    if dims:
        dims[1].CopyFrom(_outputs(context))
    for i, dim in enumerate(dims[2:]):
        size = dim.dim_value
        dim.Clear()
        if size:
            reach = dilations[i] * (kernel[i] - 1) + 1
            padded = size + pads[i] + pads[i + len(kernel)]
            dim.dim_value = (padded - reach) // strides[i] + 1
    context.set_output_type(0, output)


def _outputs(context: shape_inference.InferenceContext) -> onnx.TensorShapeProto.Dimension:
    """The size of the weight's axis 0, unknown where the weight is."""
    weight = context.get_input_type(1)
    dims = weight.tensor_type.shape.dim if weight is not None else ()
    return dims[0] if dims else onnx.TensorShapeProto.Dimension()


def _ints(context: shape_inference.InferenceContext, name: str) -> list[int]:
    attribute = context.get_attribute(name)
    return [] if attribute is None else list(attribute.ints)


_INFERENCE = {
    FAST_DECONV: _infer_conv,
    DELINEAR: _infer_linear,
    CHANNEL_DECONV: _infer_same_shape,
    CHANNEL_DECONV_LEFTOVER: _infer_same_shape,
}
