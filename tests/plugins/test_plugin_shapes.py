"""Which types and shapes the C++ plugins take and give, asked as TensorRT does."""

import itertools

import pytest
import v3
from plugin_cases import (
    ALL,
    CHANNEL,
    FAST,
    INPUTS,
    SHAPE_OF,
    SHAPES,
    descs,
    ints,
    known,
    profiles,
)
from v3 import BF16, FLOAT, HALF, INT8, RefusedError, desc, profile


@pytest.mark.parametrize("op", ALL)
def test_outputs_have_the_type_of_x_and_the_shape_of_an_input(plugin, op):
    made, inputs, outputs = plugin(op), INPUTS[op], len(SHAPE_OF[op])
    for kind in (FLOAT, HALF, BF16):
        kinds = [kind] + [FLOAT] * (inputs - 1)
        assert made.output_types(kinds, outputs) == [kind] * outputs
    ranks = [len(shape) for shape in SHAPES[op]]
    assert made.output_shapes(ranks, outputs) == [
        [(source, axis) for axis in range(ranks[source])] for source in SHAPE_OF[op]
    ]


@pytest.mark.parametrize("op", ALL)
def test_x_and_the_outputs_share_one_type_and_the_rest_is_float32(plugin, op):
    made, inputs, outputs = plugin(op), INPUTS[op], len(SHAPE_OF[op])
    count = inputs + outputs
    for place, x_kind, kind, layout in itertools.product(
        range(count), (FLOAT, HALF, BF16, INT8), (FLOAT, HALF, BF16, INT8), (v3.LINEAR, v3.CHW4)
    ):
        tensors = [desc((2, 8), x_kind) for _ in range(count)]
        tensors[place] = desc((2, 8), kind, layout)
        as_x = place == 0 or place >= inputs
        x_kind = kind if place == 0 else x_kind
        fits = kind == x_kind and kind != INT8 if as_x else kind == FLOAT
        supported = made.supports(place, tensors, inputs)
        assert supported == (fits and layout == v3.LINEAR), (place, x_kind, kind, layout)


@pytest.mark.parametrize("op", ALL)
def test_another_number_of_tensors_is_refused(plugin, op):
    made, inputs = plugin(op), INPUTS[op]
    with pytest.raises(RefusedError, match=f"{inputs + 1} inputs"):
        made.output_types([FLOAT] * (inputs + 1), len(SHAPE_OF[op]))
    assert not made.supports(0, [desc((2, 8))] * (inputs + 4), inputs + 1)


@pytest.mark.parametrize("op", ALL)
def test_shapes_that_fit_are_accepted_known_or_not(plugin, op):
    made = plugin(op)
    made.configure(*profiles(op))
    inputs, outputs = profiles(op)
    for tensor in (*inputs, *outputs):
        tensor.desc = desc([-1] * tensor.desc.dims.rank)
    made.configure(inputs, outputs)
    for kind in (FLOAT, HALF, BF16):
        made.on_shape_change(*descs(op, kind))
    made.on_shape_change(*descs(op, shapes=[(0, *SHAPES[op][0][1:]), *SHAPES[op][1:]]))


def changed(op, place, shape):
    shapes = list(SHAPES[op])
    shapes[place] = shape
    return shapes


@pytest.mark.parametrize(
    ("op", "shapes", "named"),
    [
        ("NDChannelDeconv", changed("NDChannelDeconv", 0, (-1, 10, 5, 5)), "blocks of 3"),
        ("NDChannelDeconv", changed("NDChannelDeconv", 0, (-1,)), "x"),
        ("NDChannelDeconv", changed("NDChannelDeconv", 1, (4,)), "deconv"),
        ("NDChannelDeconv", changed("NDChannelDeconv", 1, (3, 1)), "mean"),
        ("NDChannelDeconv", changed("NDChannelDeconv", 2, (3, 4)), "deconv"),
        ("NDChannelDeconv", [(-1, 9, 5, 5), (0,), (0, 0)], "mean"),
        ("NDChannelDeconvLeftover", changed("NDChannelDeconvLeftover", 3, (2,)), "leftover_mean"),
        ("NDChannelDeconvLeftover", changed("NDChannelDeconvLeftover", 4, ()), "leftover_scale"),
        (CHANNEL, [(-1, 9, 5)], "x"),
        (FAST, changed(FAST, 0, (-1, 7, 9, 9)), "x"),
        (FAST, changed(FAST, 0, (-1, 8, 9)), "x"),
        (FAST, changed(FAST, 1, (6, 8, 3, 3)), "weight"),
        (FAST, changed(FAST, 2, (5,)), "bias"),
        (FAST, [(-1, 6, 9, 9), (6, 6, 3, 2), (6,)], "blocks of 4"),
    ],
)
def test_shapes_that_do_not_fit_are_named_at_build_and_at_run_time(plugin, op, shapes, named):
    with pytest.raises(RefusedError, match=named):
        plugin(op).configure(*profiles(op, shapes))
    with pytest.raises(RefusedError, match=named):
        plugin(op).on_shape_change(*descs(op, shapes=shapes))


def test_groups_have_to_divide_the_output_channels(plugin):
    shapes = [(-1, 8, 9, 9), (6, 2, 3, 2), (6,)]
    with pytest.raises(RefusedError, match="4 groups"):
        plugin(FAST, group=ints(4)).configure(*profiles(FAST, shapes))
    plugin(FAST, group=ints(2)).configure(*profiles(FAST, [shapes[0], (6, 4, 3, 2), (6,)]))


def test_a_leftover_plugin_takes_fewer_channels_than_a_block(plugin):
    op = "NDChannelDeconvLeftover"
    plugin(op).configure(*profiles(op, changed(op, 0, (-1, 2, 5, 5))))


@pytest.mark.parametrize("op", ALL)
def test_run_time_types_and_shapes_other_than_negotiated_are_refused(plugin, op):
    inputs, outputs = descs(op)
    with pytest.raises(RefusedError, match="type or format"):
        plugin(op).on_shape_change([desc(known(SHAPES[op][0]), INT8), *inputs[1:]], outputs)
    with pytest.raises(RefusedError, match="an output"):
        plugin(op).on_shape_change(inputs, [desc((1, 1)), *outputs[1:]])


@pytest.mark.parametrize("op", [FAST, CHANNEL])
def test_the_workspace_is_that_of_the_profile_s_largest_shape(plugin, op):
    made = plugin(op)
    small, large = (made.workspace(*profiles(op, batch=batch)) for batch in (1, 64))
    assert 0 < small <= large
    sizes = [made.workspace(*profiles(op, batch=batch)) for batch in range(1, 65)]
    assert sizes == sorted(sizes)
    assert plugin("NDChannelDeconv").workspace(*profiles("NDChannelDeconv")) == 0


@pytest.mark.parametrize(
    ("op", "most"),
    [(CHANNEL, (2**20, 9, 64, 64)), (FAST, (2**20, 8, 64, 64)), (FAST, (2, 8, 2, 1))],
)
def test_a_profile_whose_largest_shape_the_kernels_refuse_is_refused(plugin, op, most):
    inputs, outputs = profiles(op)
    inputs[0] = profile(SHAPES[op][0], most)
    with pytest.raises(RefusedError, match=r"x has shape .*within the limits of the kernels"):
        plugin(op).configure(inputs, outputs)
    assert plugin(op).workspace(inputs, outputs) == 0


def test_a_profile_s_largest_shape_has_to_fit_as_well(plugin):
    op = "NDChannelDeconv"
    inputs, outputs = profiles(op)
    inputs[0] = profile((-1, -1, 5, 5), (2, 10, 5, 5))
    with pytest.raises(RefusedError, match="blocks of 3"):
        plugin(op).configure(inputs, outputs)
