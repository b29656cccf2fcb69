"""Ops that whiten with the statistics of the batch at hand, as the layers do when they train.

One function body has to serve every value of its attributes, since runtimes find it by name alone.
So the Newton-Schulz steps are a Loop, and patches are gathered by computed positions. Pixels that
are counted through the whole batch are the patches of an image of height 1 that holds them all.

Statistics are float32, as the layer's weights are, and what comes out has the type of x. Where
there is no weight the cast names float32; the float64 reference passes casts between floats over.
"""

from __future__ import annotations

from nd_deploy.nd.ops.base import Op, X
from nd_deploy.nd.ops.statistics import CENTRE, DECONV, MEAN, NUMBERS
from nd_deploy.nd.ops.weights import FOLD_CONVOLUTION, FOLD_LINEAR

FAST_DECONV_DYNAMIC = "NDFastDeconvDynamic"
DELINEAR_DYNAMIC = "NDDelinearDynamic"
CHANNEL_DECONV_DYNAMIC = "NDChannelDeconvDynamic"

FAST_DECONV_DYNAMIC_ATTRIBUTES = (
    "kernel_shape",
    "pads",
    "dilations",
    "group",
    "block",
    "n_iter",
    "sampling_strides",
    "eps",
)

_WEIGHT = ("weight", "(O, C / group, kh, kw)")
_BIAS = ("bias", "(O,)")
_FOLDED = (
    ("folded_weight", "W (D ⊗ I), of the shape of the weight"),
    ("folded_bias", "b - W (D ⊗ I) mean, (O,)"),
)

_PATCHES = """
        kernel = Constant <value_ints: ints = @kernel_shape> ()
        pads = Constant <value_ints: ints = @pads> ()
        dilations = Constant <value_ints: ints = @dilations> ()
        distances = Constant <value_ints: ints = @sampling_strides> ()
        kh = Gather (kernel, zero)
        kw = Gather (kernel, unit)
        taps_0d = Mul (kh, kw)
        taps = Reshape (taps_0d, one)
        are_pixels = Equal (taps, one)
        x_channels = Transpose <perm: ints = [1, 0, 2, 3]> (x_wide)
        channels = Shape <start: int = 0, end: int = 1> (x_channels)
        image_sizes = Shape <start: int = 1, end: int = 4> (x_channels)
        one_row = Concat <axis: int = 0> (one, one, rest)
        seen_sizes = Where (are_pixels, one_row, image_sizes)
        seen_shape = Concat <axis: int = 0> (channels, seen_sizes)
        seen = Reshape (x_channels, seen_shape)
        no_pads = Sub (pads, pads)
        seen_pads = Where (are_pixels, no_pads, pads)
        pads_begin, pads_end = Split <axis: int = 0, num_outputs: int = 2> (seen_pads)
        outer_pads = Concat <axis: int = 0> (first, first)
        all_pads = Concat <axis: int = 0> (outer_pads, pads_begin, outer_pads, pads_end)
        padded = Pad (seen, all_pads)
        distance_h = Gather (distances, first)
        distance_w = Gather (distances, one)
        distance = Mul (distance_h, distance_w)
        distance_in_row = Concat <axis: int = 0> (one, distance)
        steps = Where (are_pixels, distance_in_row, distances)
        padded_sizes = Shape <start: int = 2, end: int = 4> (padded)
        further_taps = Sub (kernel, one)
        reach = Mul (further_taps, dilations)
        room = Sub (padded_sizes, reach)
        further_room = Sub (room, one)
        further_patches = Div (further_room, steps)
        patch_counts = Add (further_patches, one)
        patches_h = Gather (patch_counts, zero)
        patches_w = Gather (patch_counts, unit)
        step_h = Gather (steps, zero)
        step_w = Gather (steps, unit)
        dilation_h = Gather (dilations, zero)
        dilation_w = Gather (dilations, unit)
        tap_range_h = Range (zero, kh, unit)
        tap_range_w = Range (zero, kw, unit)
        patch_range_h = Range (zero, patches_h, unit)
        patch_range_w = Range (zero, patches_w, unit)
        tap_rows = Mul (tap_range_h, dilation_h)
        tap_columns = Mul (tap_range_w, dilation_w)
        patch_rows = Mul (patch_range_h, step_h)
        patch_columns = Mul (patch_range_w, step_w)
        tap_rows_each = Unsqueeze (tap_rows, one)
        tap_columns_each = Unsqueeze (tap_columns, one)
        rows_read = Add (tap_rows_each, patch_rows)
        columns_read = Add (tap_columns_each, patch_columns)
        by_row = Gather <axis: int = 2> (padded, rows_read)
        by_column = Gather <axis: int = 4> (by_row, columns_read)
        patches = Transpose <perm: ints = [0, 2, 4, 1, 3, 5]> (by_column)"""

_GROUP_SAMPLES = """
        group = Constant <value_int: int = @group> ()
        block = Constant <value_int: int = @block> ()
        are_grouped = Greater (group, unit)
        group_channels = Div (channels, group)
        block_used = Where (are_grouped, group_channels, block)
        sample_size = Mul (taps, block_used)
        group_count = Reshape (group, one)
        sample_sizes = Concat <axis: int = 0> (group_count, sample_size, rest)
        samples = Reshape (patches, sample_sizes)"""

_TYPED_PARAMETERS = """
        folded_weight = CastLike (w_folded, x)
        folded_bias = CastLike (b_folded, x)
        """

_FAST_DECONV_BODY = f"""
        x_wide = CastLike (x, weight){NUMBERS}{_PATCHES}{_GROUP_SAMPLES}{MEAN}{CENTRE}{DECONV}
        mean = Squeeze (sample_mean, two){FOLD_CONVOLUTION}{_TYPED_PARAMETERS}"""

_DELINEAR_BODY = f"""
        x_wide = CastLike (x, weight){NUMBERS}
        block_0d = Constant <value_int: int = @block> ()
        block = Reshape (block_0d, one)
        row_sizes = Concat <axis: int = 0> (rest, block)
        rows = Reshape (x_wide, row_sizes)
        columns = Transpose <perm: ints = [1, 0]> (rows)
        samples = Unsqueeze (columns, first){MEAN}{CENTRE}{DECONV}
        mean = Squeeze (sample_mean, two){FOLD_LINEAR}{_TYPED_PARAMETERS}"""

_SPLIT_CHANNELS = """
        x_shape = Shape (x)
        longer_shape = Concat <axis: int = 0> (x_shape, one, one)
        four = Constant <value_ints: ints = [4]> ()
        map_shape = Slice (longer_shape, first, four)
        maps = Reshape (x_wide, map_shape)
        block_0d = Constant <value_int: int = @block> ()
        block = Reshape (block_0d, one)
        channels = Shape <start: int = 1, end: int = 2> (maps)
        groups = Div (channels, block)
        whole = Mul (groups, block)
        head = Slice (maps, first, whole, one)
        tail = Slice (maps, whole, channels, one)"""

_EVERY = """
        sampling_0d = Constant <value_int: int = @sampling_stride> ()
        sampling = Reshape (sampling_0d, one)
        height = Shape <start: int = 2, end: int = 3> (maps)
        width = Shape <start: int = 3, end: int = 4> (maps)
        smaller = Min (height, width)
        are_small = Less (smaller, sampling)
        squared = Mul (sampling, sampling)
        every = Where (are_small, one, squared)
        end = Constant <value_ints: ints = [9223372036854775807]> ()"""

_HEAD = f"""
        head_channels = Transpose <perm: ints = [1, 0, 2, 3]> (head)
        row_sizes = Concat <axis: int = 0> (one, block, rest)
        rows = Reshape (head_channels, row_sizes)
        samples = Slice (rows, first, end, two, every){MEAN}
        spread = Identity (samples){DECONV}
        block_sizes = Concat <axis: int = 0> (first, block, rest)
        head_blocks = Reshape (head, block_sizes)
        head_centred = Sub (head_blocks, sample_mean)
        y_blocks = MatMul (deconv, head_centred)
        head_shape = Shape (head)
        y_head = Reshape <allowzero: int = 1> (y_blocks, head_shape)"""

_TAIL = """
        tail_sizes = Concat <axis: int = 0> (first, rest)
        tail_rows = Reshape (tail, tail_sizes)
        tail_samples = Slice (tail_rows, first, end, one, every)
        both = Constant <value_ints: ints = [0, 1]> ()
        tail_n = Shape <start: int = 0, end: int = 1> (tail_samples)
        tail_m = Shape <start: int = 1, end: int = 2> (tail_samples)
        tail_count = Mul (tail_n, tail_m)
        tail_divisor_int = Max (tail_count, one)
        tail_divisor = CastLike (tail_divisor_int, x_wide)
        tail_sum = ReduceSum <keepdims: int = 1> (tail_samples, both)
        tail_mean = Div (tail_sum, tail_divisor)
        tail_spread = Sub (tail_samples, tail_mean)
        tail_squares = Mul (tail_spread, tail_spread)
        tail_squares_sum = ReduceSum <keepdims: int = 1> (tail_squares, both)
        tail_freedom_int = Sub (tail_count, one)
        tail_freedom = CastLike (tail_freedom_int, x_wide)
        tail_var = Div (tail_squares_sum, tail_freedom)
        tail_ridge = Add (tail_var, eps)
        tail_sd = Sqrt (tail_ridge)
        tail_centred = Sub (tail, tail_mean)
        y_tail = Div (tail_centred, tail_sd)"""

_CHANNEL_DECONV_BODY = f"""
        x_wide = Cast <to: int = 1> (x){NUMBERS}{_SPLIT_CHANNELS}{_EVERY}{_HEAD}{_TAIL}
        y_maps = Concat <axis: int = 1> (y_head, y_tail)
        y_wide = Reshape <allowzero: int = 1> (y_maps, x_shape)
        y = CastLike (y_wide, x)
        """

DYNAMIC_OPS = (
    Op(
        FAST_DECONV_DYNAMIC,
        "Weight and bias of a convolution that whitens patches with the statistics of x.",
        (("x", "(N, C, H, W): what the convolution reads"), _WEIGHT, _BIAS),
        FAST_DECONV_DYNAMIC_ATTRIBUTES,
        _FAST_DECONV_BODY,
        _FOLDED,
        plugin=True,
    ),
    Op(
        DELINEAR_DYNAMIC,
        "Weight and bias of a linear layer that whitens features with the statistics of x.",
        (("x", "(..., I): what the layer reads"), ("weight", "(O, I)"), _BIAS),
        ("block", "n_iter", "eps"),
        _DELINEAR_BODY,
        _FOLDED,
    ),
    Op(
        CHANNEL_DECONV_DYNAMIC,
        "Channels whitened with the statistics of x; C mod block of them are standardised.",
        (X,),
        ("block", "n_iter", "sampling_stride", "eps"),
        _CHANNEL_DECONV_BODY,
        plugin=True,
    ),
)
