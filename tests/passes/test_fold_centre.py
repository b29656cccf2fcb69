"""A mean that is subtracted from the channels: into a bias, or one subtraction."""

import re

import pytest
from graphs import rewrite

from nd_deploy.passes.base import Action
from nd_deploy.passes.fold_centre import FoldCentre
from nd_deploy.passes.lower_centre import LowerCentre


def centre(text, rewriting=None, **options):
    return rewrite(text, rewriting or FoldCentre(), **options)


@pytest.mark.parametrize(
    "conv",
    [
        "Conv(x, weight, bias)",
        "Conv <pads=[1,1,1,1]> (x, weight, bias)",
        "Conv(x, weight)",
        "Conv <group=2> (x, grouped, bias)",
    ],
)
def test_it_folds_into_the_bias_in_front_whatever_the_padding_and_groups(conv):
    weight = "grouped" if "grouped" in conv else "weight"
    channels = 2 if weight == "grouped" else 4
    bias = ", float[6] bias" if "bias" in conv else ""
    found = centre(
        f"""(float[N,4,H,W] x) => (float[N,6,h,w] y)
        <float[6] mu, float[6,{channels},3,3] {weight}{bias}>
        {{ [conv] c = {conv} [centre] a = nd_deploy.NDCentre(c, mu) y = Relu(a) }}"""
    )
    assert found.ops == ["Conv", "Relu"]
    assert (found.decision.action, found.decision.into) == (Action.BACKWARD, ("conv",))


@pytest.mark.parametrize(
    ("body", "parameters", "ops"),
    [
        ("y = Conv(a, w, b)", "float[5,4,3,3] w, float[5] b", ["Conv"]),
        ("y = Conv(a, w)", "float[5,4,3,3] w", ["Conv"]),
        ("f = Flatten(a) y = MatMul(f, w)", "float[120,5] w", ["Flatten", "Gemm"]),
        (
            "p = GlobalAveragePool(a) f = Flatten(p) y = Gemm <transB=1> (f, w, b)",
            "float[5,4] w, float[5] b",
            ["GlobalAveragePool", "Flatten", "Gemm"],
        ),
        (
            "r = Relu(x) c = Concat <axis=1> (r, a) y = Conv(c, w)",
            "float[5,8,1,1] w",
            ["Relu", "Concat", "Conv"],
        ),
    ],
)
def test_it_folds_forward_into_biases_where_nothing_is_padded(body, parameters, ops):
    found = centre(
        f"""(float[N,4,6,5] x) => (float[] y) <float[4] mu, {parameters}>
        {{ [centre] a = nd_deploy.NDCentre(x, mu) {body} }}"""
    )
    assert found.ops == ops
    assert found.decision.action is Action.FORWARD


def test_two_layers_that_read_it_are_both_corrected():
    found = centre(
        """(float[N,4,H,W] x) => (float[N,5,H,W] y, float[N,3,H,W] z)
        <float[4] mu, float[5,4,1,1] w, float[3,4,1,1] v>
        { [centre] a = nd_deploy.NDCentre(x, mu) [one] y = Conv(a, w) [two] z = Conv(a, v) }"""
    )
    assert found.ops == ["Conv", "Conv"]
    assert found.decision.into == ("one", "two")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("[conv] y = Conv <pads=[1,1,1,1]> (a, w)", "Conv conv pads with zeros what is centred"),
        ("[act] y = Relu(a)", "forward: Relu act does not commute .*; backward: x is an input"),
    ],
)
def test_where_no_bias_can_hold_it_one_subtraction_is_left(body, reason):
    text = f"""(float[N,4,H,W] x) => (float[] y) <float[4] mu, float[5,4,3,3] w>
        {{ [centre] a = nd_deploy.NDCentre(x, mu) {body} }}"""
    assert re.search(reason, centre(text).refusal)
    lowered = centre(text, LowerCentre())
    assert lowered.ops[0] == "Sub"
    assert lowered.decision.action is Action.SUBTRACTED
