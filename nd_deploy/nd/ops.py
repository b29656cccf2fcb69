"""The ND ops: their names, what they read, and their bodies in standard ops.

TensorRT matches built-in ops by name and ignores the domain, hence the ND prefix. An ONNX function
has no optional inputs, so a ChannelDeconv with leftover channels is an op of its own, and a layer
without a bias carries zeros.

The formulas are those of `nd_deploy.fold.algebra`, which has them with their sources.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import parser

DOMAIN = "nd_deploy"
VERSION = 1

FAST_DECONV = "NDFastDeconv"
DELINEAR = "NDDelinear"
FAST_DECONV_TRANSPOSE = "NDFastDeconvTranspose"
CHANNEL_DECONV = "NDChannelDeconv"
CHANNEL_DECONV_LEFTOVER = "NDChannelDeconvLeftover"
CENTRE = "NDCentre"

CONV_ATTRIBUTES = ("kernel_shape", "strides", "pads", "dilations", "group")
TRANSPOSE_ATTRIBUTES = ("kernel_shape", "strides", "pads", "dilations", "output_padding")


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
            FAST_DECONV_TRANSPOSE,
            "Transposed convolution that adds up whitened patches: W is flipped, multiplied by "
            "D ⊗ I from the right and flipped back; the bias loses its rows times the mean.",
            (
                _X,
                ("weight", "(C, C, kh, kw)"),
                ("bias", "(C,)"),
                *_WHITENING,
            ),
            TRANSPOSE_ATTRIBUTES,
            """
            rest = Constant <value_ints: ints = [-1]> ()
            inputs = Shape <start: int = 0, end: int = 1> (weight)
            features = Shape <start: int = 0, end: int = 1> (deconv)
            last = Constant <value_ints: ints = [-1, -1]> ()
            first = Constant <value_ints: ints = [-9223372036854775807, -9223372036854775807]> ()
            taps = Constant <value_ints: ints = [2, 3]> ()
            back = Constant <value_ints: ints = [-1, -1]> ()
            w_flipped = Slice (weight, last, first, taps, back)
            blocks = Concat <axis: int = 0> (inputs, features, rest)
            w_blocks = Reshape (w_flipped, blocks)
            w_rows = Transpose <perm: ints = [0, 2, 1]> (w_blocks)
            w_whitened = MatMul (w_rows, deconv)
            wm = Mul (w_whitened, mean)
            sum_axes = Constant <value_ints: ints = [1, 2]> ()
            correction = ReduceSum <keepdims: int = 0> (wm, sum_axes)
            b_folded = Sub (bias, correction)
            w_strided = Transpose <perm: ints = [0, 2, 1]> (w_whitened)
            w_shape = Shape (weight)
            w_shaped = Reshape (w_strided, w_shape)
            w_folded = Slice (w_shaped, last, first, taps, back)
            y = ConvTranspose <kernel_shape: ints = @kernel_shape, strides: ints = @strides,
                               pads: ints = @pads, dilations: ints = @dilations,
                               output_padding: ints = @output_padding> (x, w_folded, b_folded)
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
            CENTRE,
            "Centred channels: y = x - mean at each position.",
            (_X, ("mean", "(C,)")),
            (),
            """
            same_batch = Constant <value_ints: ints = [0]> ()
            rest = Constant <value_ints: ints = [-1]> ()
            channels = Shape (mean)
            columns = Concat <axis: int = 0> (same_batch, channels, rest)
            x_columns = Reshape (x, columns)
            position_axis = Constant <value_ints: ints = [1]> ()
            m_column = Unsqueeze (mean, position_axis)
            y_columns = Sub (x_columns, m_column)
            x_shape = Shape (x)
            y = Reshape (y_columns, x_shape)
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
