"""Every plugin op through TensorRT's parser and builder: in Python, as the library, as its body.

For the plugins nodes have no function body, so that a plugin that is not found is an error.
"""

import functools

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser
from rtx import Job, needs_rtx, run

from nd_deploy.errors import BackendError, MissingDependencyError
from nd_deploy.nd.dialect import PLUGIN_ATTRIBUTES
from nd_deploy.nd.ops.channels import CHANNEL_OPS
from nd_deploy.nd.ops.dynamic import DYNAMIC_OPS
from nd_deploy.plugins import build_library, find_library
from nd_deploy.plugins.build import BuildOptions
from nd_deploy.plugins.twin_ops import PLUGIN_OPS

pytestmark = [pytest.mark.tensorrt, needs_rtx]

BODIES = {op.name: op for op in (*CHANNEL_OPS, *DYNAMIC_OPS)}

FROZEN = "float[4] mean, float[4,4] deconv"
LEFTOVER = f"{FROZEN}, float[1] mean2, float[1] scale"
MAPS = "T[N,C,H,W]"
# A node's text, its parameters, what it reads and what the network gives.
NODES = {
    "NDChannelDeconv": ("(x, mean, deconv)", FROZEN, MAPS.replace("C", "8")),
    "NDChannelDeconvRelu": ("(x, mean, deconv)", FROZEN, "T[N,8]"),
    "NDChannelDeconvLeftover": (
        "(x, mean, deconv, mean2, scale)",
        LEFTOVER,
        MAPS.replace("C", "11"),
    ),
    "NDChannelDeconvLeftoverRelu": ("(x, mean, deconv, mean2, scale)", LEFTOVER, "T[N,11,7]"),
    "NDChannelDeconvDynamic": (
        "<block=4, n_iter=5, sampling_stride=3, eps=1e-2> (x)",
        "",
        MAPS.replace("C", "11"),
    ),
    "NDFastDeconvDynamic": (
        "<kernel_shape=[3,3], pads=[1,1,1,1], dilations=[1,1], group=1, block=4,"
        " n_iter=5, sampling_strides=[6,3], eps=1e-5> (x, weight, bias)",
        "float[6,8,3,3] weight, float[6] bias",
        MAPS.replace("C", "8"),
    ),
}
TYPES = {"float": "FLOAT", "float16": "HALF", "bfloat16": "BF16"}
SIZES = {"N": (1, 2, 5), "H": (9, 12, 32), "W": (8, 10, 16)}


def model(name, dtype):
    node, parameters, shape = NODES[name]
    shape = shape.replace("T", dtype)
    if name == "NDFastDeconvDynamic":
        body = (
            f"w, b = nd_deploy.{name} {node}"
            "y = Conv <kernel_shape=[3,3], strides=[2,1], pads=[1,1,1,1]> (x, w, b)"
        )
        output = f"{dtype}[N,6,h,w]"
    else:
        body, output = f"y = nd_deploy.{name} {node}", shape
    made = parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18, "nd_deploy": 1]>'
        f"network ({shape} x) => ({output} y) <{parameters}> {{ {body} }}"
    )
    rng = np.random.default_rng(0)
    for info in made.graph.value_info:
        sizes = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        values = rng.normal(size=sizes).astype(np.float32)
        made.graph.initializer.append(numpy_helper.from_array(values, info.name))
    del made.graph.value_info[:]
    nd = next(node for node in made.graph.node if node.domain == "nd_deploy")
    nd.attribute.extend(onnx.helper.make_attribute(*pair) for pair in PLUGIN_ATTRIBUTES.items())
    return made


def profile(made):
    axes = made.graph.input[0].type.tensor_type.shape.dim
    return {
        "x": [[dim.dim_value or SIZES[dim.dim_param][which] for dim in axes] for which in range(3)]
    }


def jobs(**options):
    made = {(name, dtype): model(name, dtype) for name in NODES for dtype in TYPES}
    return {cell: Job(each, profile(each), **options) for cell, each in made.items()}


CELLS = pytest.mark.parametrize(
    ("name", "dtype"), [(name, dtype) for name in NODES for dtype in TYPES]
)


def check(outcome, name, dtype):
    assert not outcome.errors
    assert outcome.plugins == [[name, "1", "nd_deploy"]]
    assert TYPES[dtype] in outcome.types
    assert outcome.bytes


def test_every_plugin_op_is_here():
    assert set(NODES) == set(PLUGIN_OPS)


@functools.cache
def with_twins():
    asked = jobs()
    return dict(zip(asked, run(asked.values(), twins=["nd_deploy"]), strict=True))


@CELLS
def test_an_engine_is_built_with_the_plugin_written_in_python(name, dtype):
    check(with_twins()[name, dtype], name, dtype)


@functools.cache
def with_bodies():
    made = {(name, dtype): model(name, dtype) for name in NODES for dtype in TYPES}
    for (name, _), each in made.items():
        each.functions.append(BODIES[name].function(18))
    asked = [Job(each, profile(each)) for each in made.values()]
    return dict(zip(made, run(asked), strict=True))


@CELLS
def test_an_engine_is_built_with_the_body_where_there_is_no_plugin(name, dtype):
    outcome = with_bodies()[name, dtype]
    assert not outcome.errors
    assert not outcome.plugins
    assert outcome.bytes
    # Statistics are float32 whatever the network is.
    assert {"FLOAT", TYPES[dtype]} <= set(outcome.types)


def test_a_plugin_that_refuses_its_shapes_is_an_error_and_no_crash():
    made = model("NDChannelDeconv", "float")
    made.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 9
    (outcome,) = run([Job(made, profile(made))], twins=["nd_deploy"])
    assert outcome.errors
    assert not outcome.bytes


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The library that is here, or one that is built for a single compute capability."""
    try:
        return find_library().path
    except BackendError:
        pass  # none has been built from these sources
    try:
        folder = tmp_path_factory.mktemp("plugin")
        return build_library(folder, BuildOptions(archs=("90",))).path
    except MissingDependencyError as error:
        pytest.skip(f"{error.problem}; {error.remedy}")


@pytest.fixture(scope="session")
def with_library(library):
    asked = jobs()
    return dict(zip(asked, run(asked.values(), libraries=[library]), strict=True))


@CELLS
def test_an_engine_is_built_with_the_library(with_library, name, dtype):
    check(with_library[name, dtype], name, dtype)


def test_an_engine_carries_the_library_if_it_is_to(library, with_library):
    cell = ("NDChannelDeconv", "float")
    (outcome,) = run([jobs(embed=True)[cell]], libraries=[library])
    check(outcome, *cell)
    assert outcome.bytes - with_library[cell].bytes > 0.9 * library.stat().st_size
