"""TensorRT's parser and builder on what becomes of an ND layer, one network a kind of place.

Every network has an open batch and open image sizes, and is built as it is and cast to float16.
"""

import functools

import pytest
from graphs import geometry, parse
from rtx import Job, needs_rtx, run

from nd_deploy.passes.base import Action
from nd_deploy.passes.pipeline import run_passes
from nd_deploy.precision import cast

pytestmark = [pytest.mark.tensorrt, needs_rtx]

X = "(float[N,4,H,W] x) => (float[] y)"
MAP = "float[2] mu, float[2,2] D"
LEFTOVER = "float[3] mu, float[3,3] D, float[1] mu2, float[1] var_scale"
FAST_DECONV = "float[6,4,3,3] w, float[6] b, float[1,18] mu, float[1,18,18] D"
POOLED = "p = GlobalAveragePool(x) f = Flatten(p)"

FORMS = {
    "FastDeconv into itself": (
        Action.FOLDED,
        f"{X} <{FAST_DECONV}> {{ a = nd_deploy.NDFastDeconv <{geometry(3, 2, 1)}> (x, w, b, mu, D)"
        " y = Relu(a) }",
    ),
    "Delinear into itself": (
        Action.FOLDED,
        f"{X} <{MAP}, float[5,4] w, float[5] b>"
        f"{{ {POOLED} y = nd_deploy.NDDelinear(f, w, b, mu, D) }}",
    ),
    "FastDeconvTranspose into itself": (
        Action.FOLDED,
        f"{X} <float[4,4,3,3] w, float[4] b, float[36] mu, float[36,36] D>"
        "{ y = nd_deploy.NDFastDeconvTranspose <kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1],"
        " dilations=[1,1], output_padding=[1,1]> (x, w, b, mu, D) }",
    ),
    "forward": (
        Action.FORWARD,
        f"{X} <{MAP}, float[5,4] w, float[5] b>"
        "{ r = Relu(x) a = nd_deploy.NDChannelDeconv(r, mu, D) p = GlobalAveragePool(a)"
        " f = Flatten(p) y = Gemm <transB=1> (f, w, b) }",
    ),
    "backward": (
        Action.BACKWARD,
        f"{X} <{MAP}, float[4,4,3,3] w, float[4] b> {{ c = Conv <pads=[1,1,1,1]> (x, w, b)"
        " a = nd_deploy.NDChannelDeconv(c, mu, D) y = Relu(a) }",
    ),
    "centred": (
        Action.CENTRED,
        f"{X} <{MAP}, float[5,4,3,3] w> {{ r = Relu(x) a = nd_deploy.NDChannelDeconv(r, mu, D)"
        " y = Conv <pads=[1,1,1,1]> (a, w) }",
    ),
    "a subtraction": (
        Action.SUBTRACTED,
        f"{X} <float[4] mu> {{ r = Relu(x) a = nd_deploy.NDCentre(r, mu) y = Sigmoid(a) }}",
    ),
    "a 1x1 convolution": (
        Action.LOWERED,
        f"{X} <{LEFTOVER}> {{ r = Relu(x)"
        " a = nd_deploy.NDChannelDeconvLeftover(r, mu, D, mu2, var_scale) y = Sigmoid(a) }",
    ),
    "a matrix product": (
        Action.LOWERED,
        f"{X} <{MAP}> {{ {POOLED} a = nd_deploy.NDChannelDeconv(f, mu, D) y = Sigmoid(a) }}",
    ),
    "kept": (
        Action.KEPT,
        "(float[N,4,H,W] x, float[2,2] M) => (float[] y) <float[2] mu>"
        "{ r = Relu(x) a = nd_deploy.NDChannelDeconv(r, mu, M) y = Sigmoid(a) }",
    ),
    "left to the plugin": (
        Action.PLUGIN,
        f"{X} <{MAP}> {{ s = Sigmoid(x) a = nd_deploy.NDChannelDeconv(s, mu, D) y = Relu(a) }}",
    ),
    "left to the plugin, with channels left over": (
        Action.PLUGIN,
        f"{X} <{LEFTOVER}> {{ s = Sigmoid(x)"
        " a = nd_deploy.NDChannelDeconvLeftover(s, mu, D, mu2, var_scale) y = Relu(a) }",
    ),
}
# TensorRT-RTX 1.7 infers no type for a transposed convolution in bfloat16.
UNSUPPORTED = ("FastDeconvTranspose into itself", "bfloat16")
CASES = [
    (form, precision)
    for form in FORMS
    for precision in ("float32", "float16", "bfloat16")
    if (form, precision) != UNSUPPORTED
]
SHAPES = {"x": [(1, 4, 8, 8), (2, 4, 12, 10), (5, 4, 32, 16)]}


@functools.cache
def folded(form):
    action, text = FORMS[form]
    result = run_passes(parse(text), "plugin" if action is Action.PLUGIN else "conv")
    assert [decision.action for decision in result.decisions] == [action]
    return result.model


def left(form):
    """The ND ops that are left in a network."""
    return [node.op_type for node in folded(form).graph.node if node.domain == "nd_deploy"]


@functools.cache
def built(precision, with_plugins):
    models = [folded(form) for form in FORMS]
    if precision != "float32":
        models = [cast(model, precision) for model in models]
    # With plugins the others are the same again.
    again = [with_plugins and not left(form) for form in FORMS]
    jobs = [Job(m, None if same else SHAPES) for m, same in zip(models, again, strict=True)]
    return dict(zip(FORMS, run(jobs, twins=["nd_deploy"] if with_plugins else []), strict=True))


@pytest.mark.parametrize(("form", "precision"), CASES)
def test_every_kind_of_place_parses_and_builds_without_plugins(form, precision):
    outcome = built(precision, with_plugins=False)[form]
    assert not outcome.errors
    assert outcome.bytes
    assert not outcome.plugins
    if precision == "float32":
        assert "HALF" not in outcome.types
    else:
        assert {"float16": "HALF", "bfloat16": "BF16"}[precision] in outcome.types


@pytest.mark.parametrize(("form", "precision"), CASES)
def test_plugins_are_taken_where_a_node_is_left_and_nowhere_else(form, precision):
    outcome = built(precision, with_plugins=True)[form]
    assert not outcome.errors
    assert outcome.plugins == [[op_type, "1", "nd_deploy"] for op_type in left(form)]
    if FORMS[form][0] in (Action.PLUGIN, Action.KEPT):
        assert outcome.plugins
        assert outcome.bytes
