"""Ops of the ONNX standard by what kind of work they are."""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


CASTS = _names("Cast CastLike")
"""What gives the same elements in another dtype."""

VIEWS = _names("Dropout Flatten Identity Reshape Squeeze Unsqueeze")
"""What gives the same elements in the same order, which need not move for that."""

PICKS = _names("Gather GatherElements GatherND Slice")
"""What reads no more of its first input than it gives."""

MOVES = PICKS | _names(
    """
    CenterCropPad Compress Concat ConstantOfShape DepthToSpace Expand EyeLike OneHot Pad Range
    ReverseSequence Scatter ScatterElements ScatterND Shape Size SpaceToDepth Split Tile Transpose
    Trilu
    """
)
"""What puts elements elsewhere and computes none."""

ELEMENTWISE = CASTS | _names(
    """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BatchNormalization BitShift BitwiseAnd BitwiseNot
    BitwiseOr BitwiseXor Ceil Celu Clip Cos Cosh DequantizeLinear Div Elu Equal Erf Exp Floor Gelu
    Greater GreaterOrEqual HardSigmoid HardSwish IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean
    Min Mish Mod Mul Neg Not Or PRelu Pow QuantizeLinear Reciprocal Relu Round Selu Shrink Sigmoid
    Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor
    """
)
"""What computes each element that it gives from the elements at the same place."""

REDUCTIONS = _names(
    """
    ArgMax ArgMin CumSum GlobalAveragePool GlobalMaxPool Hardmax ReduceLogSum ReduceMax ReduceMean
    ReduceMin ReduceProd ReduceSum
    """
)
"""What takes each element that it reads in once."""

REDUCTIONS_OF_CHANGED = _names("GlobalLpPool ReduceL1 ReduceL2 ReduceLogSumExp ReduceSumSquare")
"""What squares, raises or takes the magnitude of each element before it does so."""
