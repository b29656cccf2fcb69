"""The Python plugins as TensorRT calls them; with TensorRT itself in tests/trt."""

import contextlib
import ctypes

import numpy as np
import pytest
import torch
from fake_tensorrt import (
    DataType,
    DynamicPluginTensorDesc,
    PluginField,
    PluginFieldType,
    PluginTensorDesc,
    TensorFormat,
    fake_tensorrt,
)

from nd_deploy.errors import BackendError, InputError, MissingDependencyError
from nd_deploy.nd.layers import ChannelDeconv, FastDeconv
from nd_deploy.plugins import twin, twin_device, twin_plugin
from nd_deploy.plugins.twin_ops import PLUGIN_OPS

FAST_DECONV = {
    "kernel_shape": (3, 3),
    "pads": (1, 1, 1, 1),
    "dilations": (1, 1),
    "group": 1,
    "block": 4,
    "n_iter": 5,
    "sampling_strides": (3, 3),
    "eps": 1e-5,
}
CHANNEL_DECONV = {"block": 4, "n_iter": 5, "sampling_stride": 3, "eps": 1e-2}
FIELDS = {"NDFastDeconvDynamic": FAST_DECONV, "NDChannelDeconvDynamic": CHANNEL_DECONV}
HALF, FLOAT, BF16, INT32 = DataType.HALF, DataType.FLOAT, DataType.BF16, DataType.INT32


def plugin(name):
    trt = fake_tensorrt()
    return twin.plugin_class(trt, PLUGIN_OPS[name])(FIELDS.get(name, {}))


def described(*pairs):
    return [PluginTensorDesc(tuple(dims), kind) for dims, kind in pairs]


def dynamic(*pairs):
    return [DynamicPluginTensorDesc(desc) for desc in described(*pairs)]


def test_registering_makes_one_creator_an_op_and_twice_is_harmless():
    trt = fake_tensorrt()
    assert twin.register(trt) == twin.register(trt) == list(PLUGIN_OPS)
    creators = trt.get_plugin_registry().all_creators
    assert [creator.name for creator in creators] == list(PLUGIN_OPS)
    assert {(c.plugin_version, c.plugin_namespace) for c in creators} == {("1", "nd_deploy")}
    fields = {c.name: [field.name for field in c.field_names] for c in creators}
    assert fields == {name: list(FIELDS.get(name, {})) for name in PLUGIN_OPS}


def test_a_plugin_that_is_registered_already_is_left_alone():
    trt, other = fake_tensorrt(), fake_tensorrt()
    twin.register(other)
    native = other.get_plugin_registry().all_creators[0]
    trt.get_plugin_registry().all_creators.append(native)
    twin.register(trt)
    creators = trt.get_plugin_registry().all_creators
    assert creators[0] is native
    assert len(creators) == len(PLUGIN_OPS)


def test_a_tensorrt_without_the_interface_is_refused_by_name():
    trt = fake_tensorrt()
    del trt.IPluginV3OneBuild
    with pytest.raises(BackendError, match="fake_tensorrt  has no IPluginV3OneBuild"):
        twin.register(trt)


def test_a_registry_that_refuses_is_an_error():
    trt = fake_tensorrt()
    trt.get_plugin_registry().accepts = False
    with pytest.raises(BackendError, match="refuses to register the plugin NDChannelDeconv"):
        twin.register(trt)


@pytest.mark.parametrize("name", PLUGIN_OPS)
def test_a_plugin_made_from_its_serialised_fields_is_the_same(name):
    trt = fake_tensorrt()
    twin.register(trt)
    (creator,) = (c for c in trt.get_plugin_registry().all_creators if c.name == name)
    made = creator.create_plugin("node", fields_of(name), "build")
    again = creator.create_plugin("node", made.get_fields_to_serialize(), "runtime")
    for copy in (made, again, again.clone(), again.attach_to_context(None)):
        assert copy.fields == FIELDS.get(name, {}) | rounded(copy)
        assert (copy.plugin_name, copy.plugin_version) == (name, "1")
        assert (copy.plugin_namespace, copy.num_outputs) == ("nd_deploy", len(copy.op.outputs))
        assert len(copy.initialised) == 4
        assert copy.get_capability_interface("build") is copy


def rounded(made):
    """An eps comes back in float32."""
    eps = FIELDS.get(made.plugin_name, {}).get("eps")
    return {} if eps is None else {"eps": pytest.approx(eps, rel=1e-7)}


def fields_of(name, **other):
    """As a parser gives them: integers of either width, and more than was asked for."""
    return [
        PluginField(key, np.atleast_1d(value), PluginFieldType.INT64)
        for key, value in ({"plugin_version": 1} | FIELDS.get(name, {}) | other).items()
    ]


def test_a_node_without_an_attribute_is_refused_by_its_name():
    trt = fake_tensorrt()
    twin.register(trt)
    creator = trt.get_plugin_registry().all_creators[-1]
    fields = [field for field in fields_of(creator.name) if field.name != "block"]
    with pytest.raises(InputError, match="NDChannelDeconvDynamic has no attribute block"):
        creator.create_plugin("node", fields, "build")
    with pytest.raises(InputError, match="no attribute block, or one of another kind than int"):
        creator.create_plugin("node", fields_of(creator.name, block=[1, 2]), "build")


def test_outputs_have_the_shapes_of_inputs_and_the_type_of_x():
    weights = plugin("NDFastDeconvDynamic")
    assert weights.get_output_data_types([HALF, FLOAT, FLOAT]) == [HALF, HALF]
    shapes = [(2, 8, 5, 5), (6, 8, 3, 3), (6,)]
    assert weights.get_output_shapes(shapes, [], None) == shapes[1:]
    channels = plugin("NDChannelDeconvLeftoverRelu")
    assert channels.get_output_shapes([(2, 8), (4,), (4, 4), (1,), (1,)], [], None) == [(2, 8)]
    assert weights.get_workspace_size([], []) == 0
    assert weights.get_valid_tactics() == []
    weights.set_tactic(0)


@pytest.mark.parametrize("kind", [FLOAT, HALF, BF16])
def test_x_and_the_outputs_share_one_float_type_and_the_rest_is_float32(kind):
    weights = plugin("NDFastDeconvDynamic")
    shapes = [(2, 8, 5, 5), (6, 8, 3, 3), (6,), (6, 8, 3, 3), (6,)]
    right = [kind, FLOAT, FLOAT, kind, kind]
    for position in range(5):
        supported = {
            other
            for other in DataType
            if weights.supports_format_combination(
                position,
                dynamic(
                    *zip(shapes, [*right[:position], other, *right[position + 1 :]], strict=True)
                ),
                3,
            )
        }
        if position == 0:
            assert supported == {FLOAT, HALF, BF16}
        else:
            assert supported == {FLOAT if position < 3 else kind}
    padded = dynamic(*zip(shapes, right, strict=True))
    padded[0].desc.format = TensorFormat.HWC8
    assert not weights.supports_format_combination(0, padded, 3)


WRONG = {
    "a D that is not square": ("NDChannelDeconv", [(2, 8), (4,), (4, 3)], "deconv is not square"),
    "a mean of another length": ("NDChannelDeconv", [(2, 8), (3,), (4, 4)], r"mean is not \(4,\)"),
    "channels left over": ("NDChannelDeconv", [(2, 9), (4,), (4, 4)], "9 channels do not split"),
    "a vector": ("NDChannelDeconvRelu", [(8,), (4,), (4, 4)], "x has no axis of channels"),
    "an input too few": ("NDChannelDeconvLeftover", [(2, 9), (4,), (4, 4)], "has 3 inputs, not 5"),
    "a sequence": ("NDChannelDeconvDynamic", [(2, 8, 3)], "neither 2-D nor 4-D"),
    "a kernel of one axis": ("NDFastDeconvDynamic", [(2, 8, 9), (6, 8, 3), (6,)], "not both 4-D"),
    "other channels": ("NDFastDeconvDynamic", [(2, 7, 9, 9), (6, 8, 3, 3), (6,)], "x has 7 channe"),
    "a short bias": ("NDFastDeconvDynamic", [(2, 8, 9, 9), (6, 8, 3, 3), (5,)], r"not \(6,\)"),
    "an odd width": ("NDFastDeconvDynamic", [(2, 6, 9, 9), (6, 6, 3, 3), (6,)], "blocks of 4"),
}


@pytest.mark.parametrize(("name", "shapes", "message"), WRONG.values(), ids=WRONG)
def test_shapes_that_do_not_fit_are_refused_before_anything_runs(name, shapes, message):
    pairs = [(shape, FLOAT) for shape in shapes]
    with pytest.raises(InputError, match=message):
        plugin(name).configure_plugin(dynamic(*pairs), [])
    with pytest.raises(InputError, match=message):
        plugin(name).on_shape_change(described(*pairs), [])


def test_sizes_that_are_not_known_yet_are_accepted():
    pairs = [((-1, -1, -1, -1), HALF), ((4,), FLOAT), ((4, 4), FLOAT)]
    plugin("NDChannelDeconv").configure_plugin(dynamic(*pairs), [])
    pairs = [((-1, -1, -1, -1), HALF), ((6, 8, 3, 3), FLOAT), ((6,), FLOAT)]
    plugin("NDFastDeconvDynamic").configure_plugin(dynamic(*pairs), [])
    plugin("NDChannelDeconvDynamic").configure_plugin(dynamic(((-1, 8), HALF)), [])


@pytest.fixture
def on_the_cpu(monkeypatch):
    """Addresses are those of host memory."""

    def tensor_at(pointer, shape, dtype):
        kind = getattr(torch, dtype)
        count = int(np.prod(shape))
        if not count:
            return torch.empty(shape, dtype=kind)
        memory = (ctypes.c_byte * (count * kind.itemsize)).from_address(pointer)
        return torch.frombuffer(memory, dtype=kind, count=count).view(shape)

    monkeypatch.setattr(twin_plugin, "tensor_at", tensor_at)
    monkeypatch.setattr(twin_plugin, "on_stream", lambda stream: contextlib.nullcontext())


def enqueue(made, inputs, outputs):
    kinds = {torch.float32: FLOAT, torch.float16: HALF, torch.bfloat16: BF16}
    made.enqueue(
        described(*((x.shape, kinds[x.dtype]) for x in inputs)),
        described(*((y.shape, kinds[y.dtype]) for y in outputs)),
        [x.data_ptr() for x in inputs],
        [y.data_ptr() for y in outputs],
        0,
        0,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_enqueue_writes_what_the_layers_compute(on_the_cpu, dtype):
    torch.manual_seed(0)
    x = (torch.randn(3, 8, 9, 9) + 0.5).to(dtype)
    tolerance = {"rtol": torch.finfo(dtype).eps, "atol": 2e-5 + 4 * torch.finfo(dtype).eps}

    layer = FastDeconv(8, 6, 3, padding=1, block=4)
    weight, bias = layer.weight.detach(), layer.bias.detach()
    folded = [torch.empty_like(weight, dtype=dtype), torch.empty_like(bias, dtype=dtype)]
    enqueue(plugin("NDFastDeconvDynamic"), [x, weight, bias], folded)
    layer.track_running_stats = False
    mean, deconv = layer._batch_statistics(x.float())
    wide, shift = layer._whitened_weight(mean, deconv)
    torch.testing.assert_close(folded[0], wide.detach().to(dtype), **tolerance)
    torch.testing.assert_close(folded[1], (bias - shift).detach().to(dtype), **tolerance)

    (y,) = written = [torch.empty_like(x)]
    enqueue(plugin("NDChannelDeconvDynamic"), [x], written)
    torch.testing.assert_close(y, ChannelDeconv(4)(x.float()).to(dtype), **tolerance)

    layer = ChannelDeconv(3)
    layer(torch.randn(9, 8, 9, 9))
    parameters = [
        layer.running_mean1[:, 0],
        layer.running_deconv,
        layer.running_mean2[0],
        (layer.running_var[0] + layer.eps).rsqrt(),
    ]
    enqueue(plugin("NDChannelDeconvLeftoverRelu"), [x, *parameters], written)
    expected = layer.eval()(x.float()).relu().to(dtype)
    torch.testing.assert_close(y, expected, **tolerance)


def test_an_empty_output_is_no_work(on_the_cpu):
    nothing = torch.empty(0, 8)
    enqueue(plugin("NDChannelDeconv"), [nothing, torch.zeros(4), torch.eye(4)], [nothing])


@pytest.mark.skipif(torch.cuda.is_available(), reason="this PyTorch has CUDA")
def test_without_cuda_enqueue_says_what_to_install():
    with pytest.raises(MissingDependencyError, match="finds no CUDA") as caught:
        enqueue(plugin("NDChannelDeconv"), [torch.zeros(1)] * 3, [torch.zeros(1)])
    assert "nd-deploy plugin build" in caught.value.remedy


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_device_memory_is_wrapped_and_not_copied(dtype):
    memory = torch.arange(6, device="cuda").to(getattr(torch, dtype))
    stream = torch.cuda.Stream()
    with twin_device.on_stream(stream.cuda_stream):
        wrapped = twin_device.tensor_at(memory.data_ptr(), (2, 3), dtype)
        assert wrapped.tolist() == [[0, 1, 2], [3, 4, 5]]
        assert wrapped.dtype == memory.dtype
        wrapped.add_(1)
    stream.synchronize()
    assert memory.tolist() == [1, 2, 3, 4, 5, 6]
    assert twin_device.tensor_at(0, (0, 3), dtype).shape == (0, 3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_stream_that_is_recorded_is_refused():
    graph = torch.cuda.CUDAGraph()
    with (
        torch.cuda.graph(graph),
        pytest.raises(BackendError, match="into a CUDA graph"),
        twin_device.on_stream(torch.cuda.current_stream().cuda_stream),
    ):
        pass
