"""Bytes that a network moves, added up by hand."""

import pytest
from onnx_texts import model

from nd_deploy.profiling.work.count import work_of

X = 2 * 4 * 8 * 8
CONV = "a = Conv <pads = [1, 1, 1, 1]> (x, w, b)"
PORTS = "float[N, 4, 8, 8] x"
WEIGHTS = {"w": (4, 4, 3, 3), "b": (4,)}
FILTERS = 4 * 4 * 3 * 3 + 4


def layers(nodes, ports=PORTS, outputs="float y", constants="", **shapes):
    weights = WEIGHTS if "Conv" in nodes else {}
    text = model(ports, outputs, nodes, constants, weights)
    work = work_of(text, {"x": (2, 4, 8, 8), **shapes})
    assert work.unknown == ()
    return [(layer.op, layer.bytes) for layer in work.layers]


def test_a_convolution_reads_its_input_and_its_weights_once_and_writes_its_output():
    assert layers("y = Conv <pads = [1, 1, 1, 1]> (x, w, b)") == [("Conv", 4 * (2 * X + FILTERS))]


def test_an_elementwise_node_is_fused_into_the_only_node_that_it_follows():
    assert layers(f"{CONV}\nc = Relu (a)\ny = Sigmoid (c)") == [
        ("Conv + Relu + Sigmoid", 4 * (2 * X + FILTERS))
    ]


def test_the_other_operand_of_a_fused_addition_is_read():
    assert layers(f"{CONV}\nc = Add (a, x2)\ny = Relu (c)", f"{PORTS}, float[2, 4, 8, 8] x2",
                  x2=(2, 4, 8, 8)) == [("Conv + Add + Relu", 4 * (3 * X + FILTERS))]  # fmt: skip


def test_an_addition_joins_the_later_of_two_branches_and_reads_the_other():
    nodes = f"{CONV}\nc = Conv <pads = [1, 1, 1, 1]> (x, w, b)\ny = Add (a, c)"
    assert layers(nodes) == [
        ("Conv", 4 * (2 * X + FILTERS)),
        ("Conv + Add", 4 * (3 * X + FILTERS)),
    ]


def test_what_two_nodes_read_is_written_and_read_by_both():
    nodes = f"{CONV}\ns = Sigmoid (a)\ny = Mul (a, s)"
    # Sigmoid and Mul are one layer, which reads the convolution's output once.
    assert layers(nodes) == [("Conv", 4 * (2 * X + FILTERS)), ("Sigmoid + Mul", 4 * 2 * X)]


def test_an_output_of_the_network_is_written_even_if_it_is_read_too():
    nodes = "y = Conv <pads = [1, 1, 1, 1]> (x, w, b)\nz = Relu (y)"
    assert layers(nodes, outputs="float y, float z") == [
        ("Conv", 4 * (2 * X + FILTERS)),
        ("Relu", 4 * 2 * X),
    ]


def test_a_node_whose_size_is_another_one_is_not_fused():
    nodes = "m = GlobalAveragePool (x)\ny = Mul (x, m)"
    assert layers(nodes) == [
        ("GlobalAveragePool", 4 * (X + 2 * 4)),
        ("Mul", 4 * (2 * X + 2 * 4)),
    ]


def test_views_are_looked_through():
    nodes = f"{CONV}\nr = Reshape (a, shape)\nc = Relu (r)\ny = Flatten (c)"
    assert layers(nodes, constants="int64[2] shape = {0, -1}") == [
        ("Conv + Relu", 4 * (2 * X + FILTERS))
    ]


def test_reading_a_size_is_no_reading():
    nodes = f"{CONV}\ns = Shape (a)\nc = Relu (a)\ny = Expand (c, s)"
    assert layers(nodes)[0] == ("Conv + Relu", 4 * (2 * X + FILTERS))


def test_gathering_reads_what_it_takes():
    nodes = "y = Gather <axis = 1> (x, i)"
    taken = 2 * 8 * 8
    assert layers(nodes, constants="int64[1] i = {2}") == [("Gather", 4 * 2 * taken + 8)]


def test_moving_reads_and_writes_everything():
    assert layers("y = Transpose <perm = [1, 0, 2, 3]> (x)") == [("Transpose", 4 * 2 * X)]


def test_an_output_that_nobody_reads_is_not_written():
    nodes = "y, i = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)"
    assert layers(nodes) == [("MaxPool", 4 * (X + X // 4))]


@pytest.mark.parametrize(
    ("dtype", "size"), [("float16", 2), ("bfloat16", 2), ("double", 8), ("int8", 1), ("int4", 0.5)]
)
def test_elements_are_as_large_as_their_dtype(dtype, size):
    text = model(f"{dtype}[N, 4, 8, 8] x", f"{dtype} y",
                 "y = Transpose <perm = [1, 0, 2, 3]> (x)", opset=21)  # fmt: skip
    work = work_of(text, {"x": (2, 4, 8, 8)})
    assert work.bytes == 2 * X * size


def test_a_cast_is_fused_and_halves_what_is_written():
    assert layers(f"{CONV}\ny = Cast <to = 10> (a)") == [("Conv + Cast", 4 * (X + FILTERS) + 2 * X)]


def test_the_dtype_of_a_network_is_the_one_that_it_computes_most_in():
    nodes = "h = Cast <to = 10> (x)\nc = MatMul (h, h)\ny = Cast <to = 1> (c)"
    assert work_of(model(PORTS, "float y", nodes), {"x": (2, 4, 8, 8)}).dtype == "float16"
    assert work_of(model(PORTS, "float y", "y = Identity (x)"), {"x": (2, 4, 8, 8)}).dtype == (
        "float32"
    )
