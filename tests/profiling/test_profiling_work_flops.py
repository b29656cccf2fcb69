"""Operations of a network, against PyTorch's own counter and against counting them one by one."""

import io
import itertools

import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_texts import model
from torch.utils.flop_counter import FlopCounterMode

from nd_deploy import models
from nd_deploy.profiling.work.count import work_of

aten = torch.ops.aten


def raw(count):
    """A rule for FlopCounterMode that sees tensors and not their shapes."""
    count._get_raw = True
    return count


def each(operations):
    def count(*args, out_val, **kwargs):
        return operations * (out_val[0] if isinstance(out_val, tuple) else out_val).numel()

    return raw(count)


# What FlopCounterMode leaves out: it knows convolutions and products alone.
ELEMENTWISE = {
    aten.relu: each(1),
    aten.add: each(1),
    aten._native_batch_norm_legit_no_training: each(2),
    aten.avg_pool2d: raw(lambda x, k, *args, out_val, **_: out_val.numel() * k[0] * k[1]),
}


def counted_by_torch(network, *inputs):
    with FlopCounterMode(display=False, custom_mapping=ELEMENTWISE) as counter, torch.no_grad():
        network(*inputs)
    return counter.get_total_flops()


def exported(network, *inputs):
    file = io.BytesIO()
    names = [f"x{index}" for index, _ in enumerate(inputs)]
    torch.onnx.export(
        network, inputs, file, dynamo=False, input_names=names, do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE, opset_version=17,
    )  # fmt: skip
    return onnx.load_from_string(file.getvalue())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("digits", (2, 1, 8, 8), {"norm": "bn"}),
        ("resnet18", (1, 3, 32, 32), {"norm": "bn", "head": "linear"}),
    ],
)
def test_a_network_counts_what_pytorch_counts(name, size, options):
    network, x = models.build(name, **options).eval(), torch.zeros(size)
    work = work_of(exported(network, x), {"x0": size})
    assert work.unknown == ()
    assert work.flops == counted_by_torch(network, x) > 1e6


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_convolution_counts_two_for_each_product_that_is_done(data):
    draw = data.draw
    group, per_group, filters, batch = (draw(st.integers(1, 3)) for _ in range(4))
    kernel, size = (draw(st.tuples(*[st.integers(*r)] * 2)) for r in ((1, 3), (6, 9)))
    strides, dilations = (draw(st.tuples(*[st.integers(1, 2)] * 2)) for _ in range(2))
    pads = draw(st.tuples(*[st.integers(0, 2)] * 4))
    bias = draw(st.booleans())
    text = model(
        f"float[N, {group * per_group}, H, W] x, "
        f"float[{group * filters}, {per_group}, {kernel[0]}, {kernel[1]}] w, "
        f"float[{group * filters}] b",
        "float[N, C, P, Q] y",
        f"y = Conv <group = {group}, strides = {list(strides)}, dilations = {list(dilations)}, "
        f"pads = {list(pads)}> (x, w{', b' if bias else ''})",
    )
    shapes = {
        "x": (batch, group * per_group, *size),
        "w": (group * filters, per_group, *kernel),
        "b": (group * filters,),
    }
    assert work_of(text, shapes).flops == 2 * sum(
        1
        for _ in itertools.product(
            range(batch),
            range(group * filters),
            *(
                places(size[axis] + pads[axis] + pads[axis + 2], kernel[axis], strides[axis],
                       dilations[axis])
                for axis in range(2)
            ),
            range(per_group),
            range(kernel[0]),
            range(kernel[1]),
        )
    )  # fmt: skip


def places(padded, kernel, stride, dilation):
    """Every offset at which all taps of a filter lie on the padded image."""
    last = dilation * (kernel - 1)
    return [start for start in range(0, padded, stride) if start + last < padded]


@pytest.mark.parametrize(
    "shapes",
    [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 1, 3, 4), (6, 4, 5)), ((4,), (2, 4, 5))],
)
def test_a_product_counts_what_pytorch_counts(shapes):
    a, b = map(torch.zeros, shapes)
    sizes = [", ".join(map(str, shape)) for shape in shapes]
    text = model(f"float[{sizes[0]}] a, float[{sizes[1]}] b", "float y", "y = MatMul (a, b)")
    with FlopCounterMode(display=False) as counter:
        torch.matmul(a, b)
    work = work_of(text, dict(zip("ab", shapes, strict=True)))
    assert work.flops == counter.get_total_flops() > 0


@pytest.mark.parametrize(("transposed", "shape"), [(0, (3, 4)), (1, (4, 3))])
def test_a_gemm_counts_two_for_each_product_and_nothing_for_its_bias(transposed, shape):
    rows, columns = shape
    text = model(
        f"float[{rows}, {columns}] a, float[4, 5] b, float[5] c",
        "float[M, N] y",
        f"y = Gemm <transA = {transposed}> (a, b, c)",
    )
    assert work_of(text, {"a": shape, "b": (4, 5), "c": (5,)}).flops == 2 * 3 * 4 * 5


def test_a_transposed_convolution_counts_what_pytorch_counts():
    layer = torch.nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1, groups=2)
    x = torch.zeros(2, 6, 5, 7)
    text = model(
        "float[2, 6, 5, 7] x, float[6, 2, 3, 3] w, float[4] b",
        "float[N, C, H, W] y",
        "y = ConvTranspose <strides = [2, 2], pads = [1, 1, 1, 1], output_padding = [1, 1], "
        "group = 2> (x, w, b)",
    )
    work = work_of(text, {"x": (2, 6, 5, 7), "w": (6, 2, 3, 3), "b": (4,)})
    assert work.flops == counted_by_torch(layer, x) > 0


@pytest.mark.parametrize(
    ("node", "operations"),
    [
        ("MaxPool <kernel_shape = [2, 3]> (x)", 2 * 4 * (7 * 6) * 6),
        ("GlobalAveragePool (x)", 2 * 4 * 8 * 8),
        ("ReduceMean <axes = [1]> (x)", 2 * 4 * 8 * 8),
        ("ReduceL2 <axes = [1]> (x)", 2 * (2 * 4 * 8 * 8)),
        ("Softmax (x)", 5 * (2 * 4 * 8 * 8)),
        ("Sigmoid (x)", 2 * 4 * 8 * 8),
        ("Sum (x, x, x)", 2 * (2 * 4 * 8 * 8)),
        ("Mean (x, x, x)", 3 * (2 * 4 * 8 * 8)),
        ("Transpose <perm = [1, 0, 2, 3]> (x)", 0),
        ("Cast <to = 10> (x)", 0),
        ('Einsum <equation = "nchw, ncij -> nhwij"> (x, x)', 2 * (2 * 4 * 8**4)),
        ('Einsum <equation = "nchw, nchw -> nchw"> (x, x)', 2 * 4 * 8 * 8),
    ],
)
def test_other_ops_count_as_the_table_says(node, operations):
    text = model("float[N, 4, 8, 8] x", "float y", f"y = {node}")
    work = work_of(text, {"x": (2, 4, 8, 8)})
    assert (work.flops, work.unknown) == (operations, ())


@pytest.mark.parametrize(
    ("mode", "operations"), [("nearest", 0), ("linear", 2 * 4), ("cubic", 2 * 16)]
)
def test_resizing_counts_two_for_each_neighbour(mode, operations):
    text = model(
        "float[1, 3, 4, 4] x",
        "float y",
        f'y = Resize <mode = "{mode}"> (x, , scales)',
        "float[4] scales = {1, 1, 2, 2}",
    )
    assert work_of(text, {"x": (1, 3, 4, 4)}).flops == 3 * 8 * 8 * operations
