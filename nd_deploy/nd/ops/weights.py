"""Ops whose D acts on their own weight; the formulas are those of `nd_deploy.fold.algebra`."""

from nd_deploy.nd.ops.base import WHITENING, Op, X

FAST_DECONV = "NDFastDeconv"
DELINEAR = "NDDelinear"
FAST_DECONV_TRANSPOSE = "NDFastDeconvTranspose"

CONV_ATTRIBUTES = ("kernel_shape", "strides", "pads", "dilations", "group")
TRANSPOSE_ATTRIBUTES = ("kernel_shape", "strides", "pads", "dilations", "output_padding")

FOLD_CONVOLUTION = """
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
        w_folded = Reshape (w_strided, w_shape)"""
"""`w_folded` and `b_folded` of a convolution, by `mean`, (G, F), and `deconv`; `rest` is -1."""

FOLD_LINEAR = """
        outputs = Shape <start: int = 0, end: int = 1> (weight)
        features = Shape <start: int = -1> (deconv)
        blocks = Concat <axis: int = 0> (outputs, rest, features)
        w_blocks = Reshape (weight, blocks)
        w_whitened = MatMul (w_blocks, deconv)
        wm = Mul (w_whitened, mean)
        sum_axes = Constant <value_ints: ints = [1, 2]> ()
        correction = ReduceSum <keepdims: int = 0> (wm, sum_axes)
        b_folded = Sub (bias, correction)
        w_shape = Shape (weight)
        w_folded = Reshape (w_whitened, w_shape)"""
"""The same of a linear layer, by `mean`, (..., F), and `deconv`, (..., F, F)."""

WEIGHT_OPS = (
    Op(
        FAST_DECONV,
        "Convolution of whitened patches: conv(x, W (D ⊗ I), b - W (D ⊗ I) mean).",
        (
            X,
            ("weight", "(O, C / group, *kernel)"),
            ("bias", "(O,)"),
            ("mean", "running mean, (group, F)"),
            ("deconv", "running D, (group, F, F)"),
        ),
        CONV_ATTRIBUTES,
        f"""
        rest = Constant <value_ints: ints = [-1]> (){FOLD_CONVOLUTION}
        w_typed = CastLike (w_folded, x)
        b_typed = CastLike (b_folded, x)
        y = Conv <kernel_shape: ints = @kernel_shape, strides: ints = @strides,
                  pads: ints = @pads, dilations: ints = @dilations, group: int = @group>
                 (x, w_typed, b_typed)
        """,
    ),
    Op(
        FAST_DECONV_TRANSPOSE,
        "Transposed convolution that adds up whitened patches: W is flipped, multiplied by "
        "D ⊗ I from the right and flipped back; the bias loses its rows times the mean.",
        (
            X,
            ("weight", "(C, C, kh, kw)"),
            ("bias", "(C,)"),
            *WHITENING,
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
        w_typed = CastLike (w_folded, x)
        b_typed = CastLike (b_folded, x)
        y = ConvTranspose <kernel_shape: ints = @kernel_shape, strides: ints = @strides,
                           pads: ints = @pads, dilations: ints = @dilations,
                           output_padding: ints = @output_padding> (x, w_typed, b_typed)
        """,
    ),
    Op(
        DELINEAR,
        "Linear layer of whitened features: x (W (I ⊗ D))^T + b - W (I ⊗ D) mean.",
        (("x", "(..., I)"), ("weight", "(O, I)"), ("bias", "(O,)"), *WHITENING),
        (),
        f"""
        rest = Constant <value_ints: ints = [-1]> (){FOLD_LINEAR}
        w_columns = Transpose <perm: ints = [1, 0]> (w_folded)
        w_typed = CastLike (w_columns, x)
        b_typed = CastLike (b_folded, x)
        product = MatMul (x, w_typed)
        y = Add (product, b_typed)
        """,
    ),
)
