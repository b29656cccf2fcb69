"""The statistics of a batch in ONNX text: what the ops that take them have in common.

The text reads `samples` and computes in the type of `x_wide`.
"""

NUMBERS = """
        zero = Constant <value_int: int = 0> ()
        unit = Constant <value_int: int = 1> ()
        first = Constant <value_ints: ints = [0]> ()
        one = Constant <value_ints: ints = [1]> ()
        two = Constant <value_ints: ints = [2]> ()
        rest = Constant <value_ints: ints = [-1]> ()"""
"""Constants; the names of the rest say what they are read for."""

MEAN = """
        sample_count = Shape <start: int = 2, end: int = 3> (samples)
        divisor_int = Max (sample_count, one)
        divisor = CastLike (divisor_int, x_wide)
        sample_sum = ReduceSum <keepdims: int = 1> (samples, two)
        sample_mean = Div (sample_sum, divisor)"""
"""`sample_mean`, (G, F, 1), of `samples`, (G, F, M), and the `divisor` it took; 0 of no samples."""

CENTRE = """
        spread = Sub (samples, sample_mean)"""
"""`spread` of what is whitened by its covariance."""

DECONV = """
        spread_columns = Transpose <perm: ints = [0, 2, 1]> (spread)
        products = MatMul (spread, spread_columns)
        moment = Div (products, divisor)
        size = Shape <start: int = 1, end: int = 2> (moment)
        size_0d = Gather (size, zero)
        index = Range (zero, size_0d, unit)
        index_column = Unsqueeze (index, one)
        on_diagonal = Equal (index_column, index)
        identity = CastLike (on_diagonal, x_wide)
        eps_f = Constant <value_float: float = @eps> ()
        eps = CastLike (eps_f, x_wide)
        ridge = Mul (identity, eps)
        A = Add (moment, ridge)
        matrix_axes = Constant <value_ints: ints = [1, 2]> ()
        scale = ReduceL2 <keepdims: int = 1> (A, matrix_axes)
        half_f = Constant <value_float: float = 0.5> ()
        half = CastLike (half_f, x_wide)
        Y_first = Div (A, scale)
        A_shape = Shape (A)
        Z_first = Expand (identity, A_shape)
        n_iter = Constant <value_int: int = @n_iter> ()
        more = Constant <value: tensor = bool {1}> ()
        Y_last, Z_last = Loop <body: graph = newton_schulz (int64 step, bool go, Y, Z)
            => (go_on, Y_next, Z_next) {
                ZY = MatMul (Z, Y)
                distance_from_root = Sub (identity, ZY)
                correction_half = Mul (distance_from_root, half)
                T = Add (identity, correction_half)
                Y_next = MatMul (Y, T)
                Z_next = MatMul (T, Z)
                go_on = Identity (go)
            }> (n_iter, more, Y_first, Z_first)
        scale_root = Sqrt (scale)
        deconv = Div (Z_last, scale_root)"""
"""`deconv`, (G, F, F), of `spread`: `nd_deploy.nd.statistics.whitening`, with @eps and @n_iter."""
