"""Ops that act on the channels of each position.

The formulas are those of `nd_deploy.fold.channels`. An ONNX function has neither optional inputs
nor branches on an attribute, so that leftover channels and an activation behind make ops of their
own. They compute in the type of the statistics, float32, and round to that of x once.
"""

from __future__ import annotations

from nd_deploy.nd.ops.base import WHITENING, Op, X

CENTRE = "NDCentre"
CHANNEL_DECONV = "NDChannelDeconv"
CHANNEL_DECONV_LEFTOVER = "NDChannelDeconvLeftover"
CHANNEL_DECONV_RELU = "NDChannelDeconvRelu"
CHANNEL_DECONV_LEFTOVER_RELU = "NDChannelDeconvLeftoverRelu"

WITH_RELU = {
    CHANNEL_DECONV: CHANNEL_DECONV_RELU,
    CHANNEL_DECONV_LEFTOVER: CHANNEL_DECONV_LEFTOVER_RELU,
}
"""The op that an activation behind turns an op into."""

_CENTRE_BODY = """
        same_batch = Constant <value_ints: ints = [0]> ()
        rest = Constant <value_ints: ints = [-1]> ()
        x_wide = CastLike (x, mean)
        channels = Shape (mean)
        columns = Concat <axis: int = 0> (same_batch, channels, rest)
        x_columns = Reshape (x_wide, columns)
        position_axis = Constant <value_ints: ints = [1]> ()
        m_column = Unsqueeze (mean, position_axis)
        y_columns = Sub (x_columns, m_column)
        x_shape = Shape (x)
        y_wide = Reshape (y_columns, x_shape)
        y = CastLike (y_wide, x)
        """
_WHITEN = """
        same_batch = Constant <value_ints: ints = [0]> ()
        rest = Constant <value_ints: ints = [-1]> ()
        x_wide = CastLike (x, mean)
        features = Shape <start: int = 0, end: int = 1> (deconv)
        blocks = Concat <axis: int = 0> (same_batch, features, rest)
        x_blocks = Reshape (x_wide, blocks)
        position_axis = Constant <value_ints: ints = [1]> ()
        m_column = Unsqueeze (mean, position_axis)
        x_centred = Sub (x_blocks, m_column)
        y_blocks = MatMul (deconv, x_centred)
        x_shape = Shape (x)
        y_wide = Reshape (y_blocks, x_shape)"""
_WHITEN_LEFTOVER = """
        same_batch = Constant <value_ints: ints = [0]> ()
        rest = Constant <value_ints: ints = [-1]> ()
        one = Constant <value_ints: ints = [1]> ()
        x_wide = CastLike (x, mean)
        features = Shape <start: int = 0, end: int = 1> (deconv)
        channels = Shape <start: int = 1, end: int = 2> (x)
        groups = Div (channels, features)
        whitened = Mul (groups, features)
        x_head = Slice (x_wide, same_batch, whitened, one)
        x_tail = Slice (x_wide, whitened, channels, one)
        blocks = Concat <axis: int = 0> (same_batch, features, rest)
        x_blocks = Reshape (x_head, blocks)
        m_column = Unsqueeze (mean, one)
        x_centred = Sub (x_blocks, m_column)
        y_blocks = MatMul (deconv, x_centred)
        head_shape = Shape (x_head)
        y_head = Reshape <allowzero: int = 1> (y_blocks, head_shape)
        tail_centred = Sub (x_tail, leftover_mean)
        y_tail = Mul (tail_centred, leftover_scale)
        y_wide = Concat <axis: int = 1> (y_head, y_tail)"""
_ROUND = """
        y = CastLike (y_wide, x)
        """
_RELU_AND_ROUND = """
        y_active = Relu (y_wide)
        y = CastLike (y_active, x)
        """

_LEFTOVER = (
    ("leftover_mean", "(1,)"),
    ("leftover_scale", "1 / sqrt(running_var + eps), (1,)"),
)


def _whitening_op(name: str, doc: str, leftover: bool, relu: bool) -> Op:
    return Op(
        name,
        doc + (" Negative values become 0." if relu else ""),
        (X, *WHITENING, *(_LEFTOVER if leftover else ())),
        (),
        (_WHITEN_LEFTOVER if leftover else _WHITEN) + (_RELU_AND_ROUND if relu else _ROUND),
        plugin=True,
    )


_WHITENED = "Whitened channels, C a multiple of F: y = (D ⊗ I) (x - mean ⊗ 1) at each position."
_WITH_LEFTOVER = (
    "As NDChannelDeconv for the first floor(C / F) F channels; "
    "(x - leftover_mean) leftover_scale for the others."
)

CHANNEL_OPS = (
    Op(
        CENTRE,
        "Centred channels: y = x - mean at each position.",
        (X, ("mean", "(C,)")),
        (),
        _CENTRE_BODY,
    ),
    _whitening_op(CHANNEL_DECONV, _WHITENED, leftover=False, relu=False),
    _whitening_op(CHANNEL_DECONV_RELU, _WHITENED, leftover=False, relu=True),
    _whitening_op(CHANNEL_DECONV_LEFTOVER, _WITH_LEFTOVER, leftover=True, relu=False),
    _whitening_op(CHANNEL_DECONV_LEFTOVER_RELU, _WITH_LEFTOVER, leftover=True, relu=True),
)
