"""What graphs of more than plain nodes are made of: functions, loops, constants, unknown nodes."""

import numpy as np
import onnx
import pytest
from onnx_texts import model

from nd_deploy.bundle import onnx_file
from nd_deploy.errors import GraphError, InputError
from nd_deploy.nd import dialect
from nd_deploy.profiling.work.count import work_of
from nd_deploy.targets import TARGETS, fit

X = {"x": (2, 4, 8, 8)}
PORT = "float[N, 4, 8, 8] x"


def test_a_node_whose_shape_depends_on_values_is_named_with_all_that_follow_it():
    nodes = """
        [find] n = NonZero (x)
        [move] t = Transpose (n)
        [cast] c = Cast <to = 1> (t)
        [other] z = Relu (x)"""
    work = work_of(model(PORT, "float c, float z", nodes), X)
    assert work.unknown == ("find", "move", "cast")
    assert [layer.name for layer in work.layers] == ["other"]


def test_an_op_that_is_not_in_the_table_is_named():
    nodes = "[sort] v, i = TopK (x, k)\n[after] y = Relu (v)"
    work = work_of(model(PORT, "float y", nodes, "int64[1] k = {3}"), X)
    assert work.unknown == ("sort",)
    # Nothing can be fused into what is not counted.
    assert [(layer.op, layer.bytes) for layer in work.layers] == [("Relu", 4 * 2 * 2 * 4 * 8 * 3)]


def test_an_op_of_an_unknown_domain_is_named_by_its_output_if_it_has_no_name():
    text = model(PORT, "float y", "y = Relu (x)")
    text.graph.node[0].domain = "somebody.else"
    assert work_of(text, X).unknown == ("node_of_y",)


def test_what_depends_on_no_input_counts_as_a_weight():
    """A weight that is whitened anew in every run of a naive export, which runtimes fold."""
    nodes = "[fold] f = MatMul (d, w)\n[size] s = Shape (x)\n[apply] y = MatMul (x, f)"
    work = work_of(model(PORT, "float y", nodes, weights={"d": (8, 8), "w": (8, 5)}), X)
    assert [layer.name for layer in work.layers] == ["apply"]
    assert work.flops == 2 * (2 * 4 * 8 * 5) * 8
    assert work.bytes == 4 * (2 * 4 * 8 * 8 + 8 * 5 + 2 * 4 * 8 * 5)


def test_shapes_are_followed_through_arithmetic():
    nodes = """
        s = Shape <start = 1, end = 3> (x)
        two = Constant <value_ints = [2]> ()
        half = Div (s, two)
        small = Less (half, s)
        rest = Constant <value_ints = [-1]> ()
        size = Where (small, half, s)
        to = Concat <axis = 0> (rest, size)
        r = Reshape (x, to)
        y = MatMul (r, m)"""
    work = work_of(model(PORT, "float y", nodes, weights={"m": (4, 3)}), X)
    # (2, 4, 8, 8) as (64, 2, 4), times (4, 3).
    assert (work.flops, work.unknown) == (2 * (64 * 2 * 3) * 4, ())


LOOP = """
    [repeat] out = Loop (trips, go, x) <body = b (int64 i, bool c, float h) => (bool c2, float h2)
        {{
            c2 = Identity ({goes_on})
            [multiply] m = MatMul (h, x)
            h2 = Relu (m)
        }}>"""


def test_a_loop_counts_its_body_as_often_as_it_runs():
    text = model(PORT, "float out", LOOP.format(goes_on="c"), "int64 trips = {5}, bool go = {1}")
    (layer,) = work_of(text, X).layers
    size = 2 * 4 * 8 * 8
    assert (layer.name, layer.op) == ("repeat", "Loop")
    assert layer.flops == 5 * (2 * size * 8 + size)
    # Each time h and x are read and h2 is written.
    assert layer.bytes == 5 * 4 * 3 * size


@pytest.mark.parametrize(
    ("ports", "weights", "goes_on"),
    [
        (f"{PORT}, int64 trips", "bool go = {1}", "c"),
        (f"{PORT}, bool go", "int64 trips = {5}", "c"),
        (f"{PORT}, bool stop", "int64 trips = {5}, bool go = {1}", "stop"),
    ],
)
def test_a_loop_that_an_input_ends_is_named(ports, weights, goes_on):
    text = model(ports, "float out", LOOP.format(goes_on=goes_on), weights)
    others = {port.name: () for port in text.graph.input if port.name != "x"}
    work = work_of(text, X | others)
    assert (work.unknown, work.layers) == (("repeat",), ())


def test_what_cannot_be_counted_in_a_loop_is_named_after_both():
    nodes = LOOP.format(goes_on="c").replace("m = MatMul (h, x)", "m = Mystery (h, x)")
    text = model(PORT, "float out", nodes, "int64 trips = {5}, bool go = {1}")
    assert work_of(text, X).unknown[0] == "repeat/multiply"


def test_a_loop_that_never_begins_does_nothing():
    text = model(PORT, "float out", LOOP.format(goes_on="c"), "int64 trips = {5}, bool go = {0}")
    assert (work_of(text, X).flops, work_of(text, X).unknown) == (0, ())


def test_what_a_loop_gathers_is_as_long_as_its_trips():
    nodes = """
        last, all = Loop (trips, , x) <body = b (int64 i, bool c, float h)
            => (bool c, float h2, float each) { h2 = Relu (h) each = Neg (h2) }>
        y = Relu (all)"""
    work = work_of(model(PORT, "float last, float y", nodes, "int64 trips = {5}"), X)
    assert work.unknown == ()
    assert work.layers[-1].flops == 5 * 2 * 4 * 8 * 8


BRANCHES = """
    [choose] y = If (which) <
        then_branch = a () => (float p) { p = Relu (x) },
        else_branch = b () => (float p) { q = Relu (x) p = Mul (q, x) }>"""


@pytest.mark.parametrize(("which", "ops"), [(1, 1), (0, 2)])
def test_the_branch_that_a_constant_chooses_is_counted(which, ops):
    work = work_of(model(PORT, "float y", BRANCHES, f"bool which = {{{which}}}"), X)
    assert (work.flops, work.unknown) == (ops * 2 * 4 * 8 * 8, ())


def test_branches_that_an_input_chooses_are_named():
    work = work_of(model(f"{PORT}, bool which", "float y", BRANCHES), X | {"which": ()})
    assert work.unknown == ("choose",)


def test_a_scan_counts_its_body_for_each_slice():
    nodes = """
        z, y = Scan (start, x) <num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [-1],
            body = b (float s, float row) => (float t, float each) {
                t = Add (s, row)
                each = Neg (t)
            }>
        last = Relu (y)"""
    ports = f"{PORT}, float[2, 8, 8] start"
    work = work_of(model(ports, "float z, float last", nodes), X | {"start": (2, 8, 8)})
    assert work.unknown == ()
    assert [layer.flops for layer in work.layers] == [4 * 2 * (2 * 8 * 8), 2 * 8 * 8 * 4]


def whitening(outputs, call, weights, layers=None):
    """A model of one node of the dialect, called "whiten"."""
    ports = ", ".join(f"float {name}" for name in outputs.split(", "))
    text = model(PORT, ports, f"[whiten] {outputs} = {call}", weights=weights, opset=18)
    (node,) = text.graph.node
    node.domain = dialect.DOMAIN
    if layers is not None:
        node.metadata_props.add(key="nd_deploy.layers", value=layers)
    dialect.attach_functions(text)
    return text


FROZEN = whitening(
    "y",
    "NDFastDeconv <kernel_shape = [3, 3], strides = [1, 1], pads = [1, 1, 1, 1], "
    "dilations = [1, 1], group = 1> (x, w, b, mean, deconv)",
    {"w": (6, 4, 3, 3), "b": (6,), "mean": (1, 18), "deconv": (1, 18, 18)},
)


@pytest.mark.parametrize("target", TARGETS)
def test_a_frozen_layer_costs_its_convolution_whatever_the_target(target):
    text = onnx.ModelProto()
    text.CopyFrom(FROZEN)
    work = work_of(fit(text, TARGETS[target]), X)
    products = [layer for layer in work.layers if layer.flops]
    assert work.unknown == ()
    assert sum(layer.flops for layer in products) == 2 * (2 * 6 * 8 * 8) * (4 * 9)
    if target != "inlined":
        assert all(layer.nd_layers == ("whiten",) for layer in work.layers)
        assert all(name.startswith("whiten/") for layer in work.layers for name in layer.nodes)


def test_a_layer_that_whitens_by_the_batch_costs_its_newton_schulz_steps():
    text = whitening(
        "f, g",
        "NDFastDeconvDynamic <kernel_shape = [3, 3], pads = [1, 1, 1, 1], dilations = [1, 1], "
        "group = 1, block = 4, n_iter = 7, sampling_strides = [1, 1], eps = 0.1> (x, w, b)",
        {"w": (6, 4, 3, 3), "b": (6,)},
        layers="conv1,bn1",
    )
    work = work_of(text, X)
    by_op = {layer.op.split(" ")[0]: layer for layer in work.layers}
    features, samples = 4 * 9, 2 * 8 * 8
    assert work.unknown == ()
    assert by_op["Loop"].flops == 7 * (3 * 2 * features**3 + 3 * features**2)
    covariance = next(layer for layer in work.layers if layer.name == "whiten/products")
    # Then it is divided, and the ridge added.
    assert covariance.flops == 2 * samples * features**2 + 2 * features**2
    assert {layer.nd_layers for layer in work.layers} == {("conv1", "bn1")}


def test_layers_are_those_that_the_passes_wrote_onto_the_nodes():
    text = model(PORT, "float y", "[a] h = Relu (x)\n[b] y = Neg (h)")
    for node, layers in zip(text.graph.node, ("conv1,bn1", "conv2"), strict=True):
        node.metadata_props.add(key="nd_deploy.layers", value=layers)
    (layer,) = work_of(text, X).layers
    assert layer.nd_layers == ("conv1", "bn1", "conv2")
    assert layer.nodes == ("a", "b")


def with_weights():
    text = model(PORT, "float y", "r = Reshape (x, shape)\ny = MatMul (r, w)")
    for name, values in (("shape", np.array([-1, 64])), ("w", np.zeros((64, 48), np.float32))):
        text.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return text


def test_large_weights_are_not_read(tmp_path):
    expected = work_of(with_weights(), X)
    _, data = onnx_file.save(with_weights(), tmp_path / "model.onnx", external_data_over=0)
    data.unlink()
    assert work_of(tmp_path / "model.onnx", X) == expected
    assert expected.flops == 2 * (8 * 48) * 64


def test_shapes_that_are_kept_in_another_file_are_read(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(with_weights(), path, save_as_external_data=True, size_threshold=0, location="data")
    assert onnx_file.references(onnx.load(path, load_external_data=False)) == {"data"}
    assert work_of(path, X) == work_of(with_weights(), X)


def test_shapes_that_are_kept_in_a_file_that_is_gone_are_refused_by_name(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(with_weights(), path, save_as_external_data=True, size_threshold=0, location="data")
    (tmp_path / "data").unlink()
    with pytest.raises(GraphError, match="'shape' lies in a file") as caught:
        work_of(path, X)
    assert "copy that file" in caught.value.remedy


def test_the_standard_ops_may_be_imported_by_either_name():
    text = model(PORT, "float y", "y = Relu (x)")
    text.opset_import[0].domain = "ai.onnx"
    assert work_of(text, X).flops == 2 * 4 * 8 * 8


def test_the_model_is_left_as_it_was():
    text = onnx.ModelProto()
    text.CopyFrom(FROZEN)
    work_of(text, X)
    assert text == FROZEN


@pytest.mark.parametrize(
    ("shapes", "problem"),
    [
        ({}, "input 'x' is missing"),
        (X | {"z": (1,)}, "no input 'z'"),
        ({"x": (2, 5, 8, 8)}, "'x'"),
        ({"x": (2, 4, 8)}, "'x'"),
    ],
)
def test_shapes_that_the_model_does_not_take_are_refused(shapes, problem):
    with pytest.raises(InputError, match=problem):
        work_of(model(PORT, "float y", "y = Relu (x)"), shapes)


@pytest.mark.parametrize("content", [None, b"no model"])
def test_a_file_that_holds_no_model_is_refused_by_name(content, tmp_path):
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(GraphError, match=r"model\.onnx"):
        work_of(path, X)
