"""The dialect's ops: their bodies compute the layers' definitions, wherever a graph can run."""

import re

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy_layers import patches
from onnx import defs, numpy_helper, parser

from nd_deploy.nd.dialect import (
    DOMAIN,
    OPS,
    PLUGIN_ATTRIBUTES,
    VERSION,
    WITH_RELU,
    attach_functions,
    dialect_nodes,
    register_schemas,
)
from nd_deploy.runtime.reference import ReferenceRunner

CPU = "CPUExecutionProvider"
HEADER = '<ir_version: 10, opset_import: ["": {opset}, "nd_deploy": 1]>\n'
GEOMETRY = "kernel_shape=[3,2], strides=[2,1], pads=[1,0,2,1], dilations=[1,2]"
CALLS = {
    "NDFastDeconv": (
        f"y = nd_deploy.NDFastDeconv <{GEOMETRY}, group=1> (x, weight, bias, mean, deconv)"
    ),
    "NDDelinear": "y = nd_deploy.NDDelinear(x, weight, bias, mean, deconv)",
    "NDChannelDeconv": "y = nd_deploy.NDChannelDeconv(x, mean, deconv)",
    "NDChannelDeconvLeftover": (
        "y = nd_deploy.NDChannelDeconvLeftover(x, mean, deconv, leftover_mean, leftover_scale)"
    ),
}


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def model(call, parameters, x="N,C,H,W", y="n,c,h,w", kind="float", opset=18):
    """A model of one call, with float32 parameters unless it is of another kind."""
    text = f"{HEADER.format(opset=opset)} network ({kind}[{x}] x) => ({kind}[{y}] y) {{ {call} }}"
    proto = parser.parse_model(text)
    for name, value in parameters.items():
        array = value.astype(np.float32 if kind == "float" else np.float64)
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    register_schemas()
    attach_functions(proto)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def check(call, parameters, expected, *inputs, **options):
    """Hold the body against definitions in float64 and, with open axes, in ONNX Runtime."""
    parameters = {k: v.astype(np.float32).astype(np.float64) for k, v in parameters.items()}
    double = model(call, parameters, kind="double", **options)
    single = model(call, parameters, **options).SerializeToString()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(single, settings, providers=["CPUExecutionProvider"])
    for x in inputs:
        x = x.astype(np.float32)
        y = expected(x.astype(np.float64), **parameters)
        scale = np.abs(y).max()
        found = ReferenceRunner(double).run({"x": x})["y"]
        np.testing.assert_allclose(found, y, rtol=0, atol=1e-12 * scale)
        (found,) = session.run(None, {"x": x})
        np.testing.assert_allclose(found, y, rtol=0, atol=1e-5 * scale)


IMAGES = normal(0, 2, 4, 7, 6), normal(1, 3, 4, 5, 9) + 1


@pytest.mark.parametrize(("groups", "shared"), [(1, 1), (1, 2), (2, 1), (4, 1), (2, 3)])
def test_fast_deconv_is_a_convolution_of_whitened_patches(groups, shared):
    features = 4 // groups * 6 // shared
    parameters = {
        "weight": normal(2, 8, 4 // groups, 3, 2),
        "bias": normal(3, 8),
        "mean": normal(4, groups, features),
        "deconv": normal(5, groups, features, features),
    }

    def defined(x, weight, bias, mean, deconv):
        x = np.pad(x, ((0, 0), (0, 0), (1, 2), (0, 1)))
        parts = []
        for g in range(groups):
            part = x[:, g * 4 // groups : (g + 1) * 4 // groups]
            columns = patches(part, (3, 2), (2, 1), 0, 2)
            centred = columns - np.kron(mean[g], np.ones(shared))[:, None, None]
            whitened = np.einsum("ef,nfhw->nehw", np.kron(deconv[g], np.eye(shared)), centred)
            rows = weight[g * 8 // groups : (g + 1) * 8 // groups].reshape(8 // groups, -1)
            parts.append(np.einsum("oe,nehw->nohw", rows, whitened))
        return np.concatenate(parts, axis=1) + bias[:, None, None]

    geometry = f"kernel_shape=[3,2], strides=[2,1], pads=[1,0,2,1], dilations=[2,2], group={groups}"
    call = f"y = nd_deploy.NDFastDeconv <{geometry}> (x, weight, bias, mean, deconv)"
    check(call, parameters, defined, *IMAGES, x="N,4,H,W")


@pytest.mark.parametrize("x", [normal(0, 3, 6), normal(1, 2, 5, 6), normal(2, 2, 1, 3, 6)])
def test_delinear_is_a_linear_layer_of_whitened_features(x):
    parameters = {
        "weight": normal(3, 4, 6),
        "bias": normal(4, 4),
        "mean": normal(5, 2),
        "deconv": normal(6, 2, 2),
    }

    def defined(x, weight, bias, mean, deconv):
        whitened = np.empty_like(x)
        for start in range(0, 6, 2):
            block = slice(start, start + 2)
            whitened[..., block] = (x[..., block] - mean) @ deconv.T
        return whitened @ weight.T + bias

    axes = ",".join("abc"[: x.ndim - 1])
    check(CALLS["NDDelinear"], parameters, defined, x, x=f"{axes},6", y=f"{axes},4")


FEATURE_MAPS = {
    "images": (IMAGES, "N,4,H,W", "N,4,H,W"),
    "rows": ((normal(0, 3, 4), normal(1, 1, 4)), "N,4", "N,4"),
    "sequences": ((normal(0, 3, 4, 5),), "N,4,L", "N,4,L"),
    "open channels": ((normal(0, 2, 4, 3, 3), normal(0, 2, 8, 3, 3)), "N,C,H,W", "N,C,H,W"),
}


@pytest.mark.parametrize(("inputs", "x", "y"), FEATURE_MAPS.values(), ids=FEATURE_MAPS)
def test_channel_deconv_whitens_strided_blocks_of_channels(inputs, x, y):
    parameters = {"mean": normal(2, 2), "deconv": normal(3, 2, 2)}

    def defined(x, mean, deconv):
        return whitened_channels(x, mean, deconv, 0.0, 1.0)

    check(CALLS["NDChannelDeconv"], parameters, defined, *inputs, x=x, y=y)


@pytest.mark.parametrize("channels", [2, 3, 5, 6, 8])
def test_leftover_channels_share_one_mean_and_scale(channels):
    parameters = {
        "mean": normal(2, 3),
        "deconv": normal(3, 3, 3),
        "leftover_mean": normal(4, 1),
        "leftover_scale": normal(5, 1) ** 2 + 0.5,
    }

    def defined(x, mean, deconv, leftover_mean, leftover_scale):
        return whitened_channels(x, mean, deconv, leftover_mean[0], leftover_scale[0])

    call = CALLS["NDChannelDeconvLeftover"]
    check(call, parameters, defined, normal(0, 2, channels, 3, 4), normal(1, 1, channels, 2, 2))
    check(call, parameters, defined, normal(0, 4, channels), x="N,C", y="N,C")


@pytest.mark.parametrize("op", WITH_RELU)
def test_an_activation_behind_a_whitening_op_is_part_of_an_op_of_its_own(op):
    parameters = {
        "mean": normal(2, 3),
        "deconv": normal(3, 3, 3),
        "leftover_mean": normal(4, 1),
        "leftover_scale": normal(5, 1) ** 2 + 0.5,
    }
    leftover = op == "NDChannelDeconvLeftover"
    channels = 8 if leftover else 6
    if not leftover:
        parameters = {name: parameters[name] for name in ("mean", "deconv")}

    def defined(x, mean, deconv, leftover_mean=(0.0,), leftover_scale=(1.0,)):
        return np.maximum(
            whitened_channels(x, mean, deconv, leftover_mean[0], leftover_scale[0]), 0
        )

    call = CALLS[op].replace(op, WITH_RELU[op])
    check(call, parameters, defined, normal(0, 2, channels, 3, 4), normal(1, 1, channels, 2, 2))


def whitened_channels(x, mean, deconv, leftover_mean, leftover_scale):
    """Block g holds the channels g, g + G, g + 2 G, ..."""
    features, groups = len(mean), x.shape[1] // len(mean)
    y = (x - leftover_mean) * leftover_scale
    for g in range(groups):
        block = slice(g, features * groups, groups)
        centred = np.moveaxis(x[:, block], 1, -1) - mean
        y[:, block] = np.moveaxis(centred @ deconv.T, -1, 1)
    return y


def test_schemas_are_registered_once_with_their_inputs_and_attributes():
    register_schemas()
    register_schemas()
    for op in OPS.values():
        schema = defs.get_schema(op.name, VERSION, DOMAIN)
        assert [i.name for i in schema.inputs] == [name for name, _ in op.inputs]
        required = {a.name for a in schema.attributes.values() if a.required}
        assert required == set(op.attributes)
        assert set(schema.attributes) - required == (set(PLUGIN_ATTRIBUTES) if op.plugin else set())


def inferred(call, x, weight="8,4,3,2"):
    text = f"""{HEADER.format(opset=18)}
        network (float[{x}] x, float[{weight}] weight, float[8] bias, float[F] mean,
            float[F,F] deconv, float[1] leftover_mean, float[1] leftover_scale)
        => (float[] y) {{ {call} }}"""
    register_schemas()
    found = onnx.shape_inference.infer_shapes(parser.parse_model(text), strict_mode=True)
    kind = found.graph.output[0].type.tensor_type
    assert kind.elem_type == onnx.TensorProto.FLOAT
    if not kind.HasField("shape"):
        return None
    return [d.dim_value or re.sub(r"unk__\d+", "?", d.dim_param) for d in kind.shape.dim]


@pytest.mark.parametrize(
    ("op", "x", "weight", "expected"),
    [
        ("NDFastDeconv", "5,4,9,8", "8,4,3,2", [5, 8, 5, 7]),
        ("NDFastDeconv", "N,4,9,W", "8,4,3,2", ["N", 8, 5, "?"]),
        ("NDFastDeconv", "N,4,H,W", "8,4,3,2", ["N", 8, "?", "?"]),
        ("NDFastDeconv", "N,4,9,8", "", ["N", "?", 5, 7]),
        ("NDFastDeconv", "", "8,4,3,2", None),
        ("NDDelinear", "N,6", "8,6", ["N", 8]),
        ("NDDelinear", "N,T,6", "8,6", ["N", "T", 8]),
        ("NDDelinear", "N,6", "", ["N", "?"]),
        ("NDDelinear", "", "8,6", None),
        ("NDChannelDeconv", "N,6,H,7", "1", ["N", 6, "H", 7]),
        ("NDChannelDeconvLeftover", "N,6", "1", ["N", 6]),
        ("NDChannelDeconv", "", "1", None),
    ],
)
def test_shapes_are_inferred_through_the_ops(op, x, weight, expected):
    assert inferred(CALLS[op], x, weight=weight) == expected


def test_what_reads_an_unknown_op_has_an_unknown_shape():
    for call in CALLS.values():
        text = f"""<ir_version: 10, opset_import: ["": 18, "nd_deploy": 1, "foreign": 1]>
            network (float[N,6] z, float[8,6] weight, float[8] bias, float[6] mean,
                float[6,6] deconv, float[1] leftover_mean, float[1] leftover_scale)
            => (float[] y) {{ x = foreign.Op(z) {call} }}"""
        register_schemas()
        found = onnx.shape_inference.infer_shapes(parser.parse_model(text))
        assert not found.graph.output[0].type.tensor_type.HasField("shape")


@pytest.mark.parametrize(
    "changed",
    ["kernel_shape=[3]", "strides=[2,1,1]", "pads=[1,0,2]", "dilations=[1]"],
)
def test_a_window_of_the_wrong_number_of_axes_is_an_error(changed):
    name = changed.partition("=")[0]
    (given,) = [a for a in GEOMETRY.split(", ") if a.startswith(name)]
    with pytest.raises(
        onnx.shape_inference.InferenceError, match=r"NDFastDeconv has an input of 4"
    ):
        inferred(CALLS["NDFastDeconv"].replace(given, changed), "N,4,9,8")


def functions(proto):
    return [(f.domain, f.name) for f in proto.functions]


def imports(proto):
    return {o.domain: o.version for o in proto.opset_import}


@pytest.mark.parametrize("opset", [18, 20, 21])
def test_only_the_ops_in_use_get_a_body_against_the_models_own_opset(opset):
    parameters = {"mean": normal(0, 2), "deconv": normal(1, 2, 2)}
    proto = model(CALLS["NDChannelDeconv"], parameters, x="N,4", y="N,4", opset=opset)
    assert functions(proto) == [(DOMAIN, "NDChannelDeconv")]
    assert [(o.domain, o.version) for o in proto.functions[0].opset_import] == [("", opset)]
    assert imports(proto) == {"": opset, DOMAIN: VERSION}


def test_nodes_say_where_tensorrt_finds_their_plugin_once():
    parameters = {"mean": normal(0, 2), "deconv": normal(1, 2, 2)}
    proto = model(CALLS["NDChannelDeconv"], parameters, x="N,4", y="N,4")
    attach_functions(proto)
    (node,) = dialect_nodes(proto)
    found = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    assert found == {"plugin_namespace": b"nd_deploy", "plugin_version": b"1"}
    assert len(node.attribute) == 2


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_narrow_networks_are_whitened_in_float32_and_rounded_once(kind):
    mean, deconv = normal(2, 2).astype(np.float32), normal(3, 2, 2).astype(np.float32)
    text = f"""{HEADER.format(opset=18)}
        network (float[N,4,H,W] image) => (float[N,4,H,W] whitened) {{
            x = Cast <to: int = {getattr(onnx.TensorProto, kind.upper())}> (image)
            {CALLS["NDChannelDeconv"]}
            whitened = Cast <to: int = 1> (y)
        }}"""
    proto = parser.parse_model(text)
    for name, array in (("mean", mean), ("deconv", deconv)):
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    attach_functions(proto)
    onnx.checker.check_model(proto, full_check=True)
    image = (normal(0, 2, 4, 3, 3) + 30).astype(np.float16)
    x = torch.from_numpy(image).to(getattr(torch, kind))
    y = whitened_channels(x.double().numpy(), mean.astype(float), deconv.astype(float), 0.0, 1.0)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=[CPU])
    (found,) = session.run(None, {"image": image.astype(np.float32)})
    unit = float(torch.finfo(getattr(torch, kind)).eps) / 2
    assert np.all(np.abs(found - y) <= unit * np.abs(y) + 1e-5)


def test_attaching_again_follows_what_is_left_in_the_graph():
    parameters = {"mean": normal(0, 2), "deconv": normal(1, 2, 2)}
    proto = model(CALLS["NDChannelDeconv"], parameters, x="N,4", y="N,4")
    attach_functions(proto)
    assert functions(proto) == [(DOMAIN, "NDChannelDeconv")]
    assert imports(proto) == {"": 18, DOMAIN: VERSION}
    proto.graph.node[0].CopyFrom(onnx.helper.make_node("Abs", ["x"], ["y"]))
    attach_functions(proto)
    assert functions(proto) == []
    assert imports(proto) == {"": 18}


def test_ops_inside_branches_and_foreign_functions_get_their_bodies():
    proto = parser.parse_model(
        """<ir_version: 10, opset_import: ["": 18, "local": 1]>
        network (float[N,4] x, bool c, float[2] mean, float[2,2] deconv) => (float[N,4] y)
        {
            z = local.Block(x, mean, deconv)
            y = If (c) <
                then_branch = one () => (float[N,4] a) { a = nd_deploy.NDDelinear(z) },
                else_branch = other () => (float[N,4] b) { b = Relu(z) }
            >
        }
        <domain: "local", opset_import: ["": 18, "nd_deploy": 1]>
        Block (x, mean, deconv) => (y) { y = nd_deploy.NDChannelDeconv(x, mean, deconv) }"""
    )
    attach_functions(proto)
    assert functions(proto) == [
        ("local", "Block"),
        (DOMAIN, "NDChannelDeconv"),
        (DOMAIN, "NDDelinear"),
    ]
    assert imports(proto) == {"": 18, "local": 1, DOMAIN: VERSION}


def test_no_parameter_of_a_body_has_a_name_that_a_network_might_give_a_tensor():
    """TensorRT's parser takes an argument for an earlier parameter of that name."""
    for op in OPS.values():
        body = op.function(18)
        assert list(body.input) == [f"{op.name}.{name}" for name, _ in op.inputs]
        made = {name for node in body.node for name in node.output}
        read = {name for node in body.node for name in node.input if name}
        assert read <= made | set(body.input)


def test_a_leftover_mean_that_is_called_mean_is_not_taken_for_the_mean():
    parameters = {
        "mu": normal(2, 3),
        "D": normal(3, 3, 3),
        "mean": normal(4, 1),
        "deconv": normal(5, 1) ** 2 + 0.5,
    }

    def defined(x, mu, D, mean, deconv):
        return whitened_channels(x, mu, D, mean[0], deconv[0])

    call = "y = nd_deploy.NDChannelDeconvLeftover(x, mu, D, mean, deconv)"
    check(call, parameters, defined, normal(0, 2, 8, 3, 4))
