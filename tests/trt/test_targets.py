"""The forms that `nd_deploy.targets` gives a model, as TensorRT's parser takes them."""

import functools

import pytest
from graphs import parse
from rtx import Job, needs_rtx, run

from nd_deploy.passes.pipeline import run_passes
from nd_deploy.targets import TARGETS, fit

pytestmark = [pytest.mark.tensorrt, needs_rtx]

WITHOUT_PLUGIN = {
    "portable": "body",
    "tensorrt": "body",
    "tensorrt<=10.6": "refused",
    "ort-tensorrt": "body",
    "inlined": "body",
}
WITH_PLUGIN = {**dict.fromkeys(WITHOUT_PLUGIN, "plugin"), "inlined": "body"}


def model(target):
    text = """(float[N,7,H,W] x) => (float[N,7,H,W] y)
        <float[3] mu, float[3,3] D, float[1] mu2, float[1] var_scale>
        { s = Sigmoid(x) a = nd_deploy.NDChannelDeconvLeftover(s, mu, D, mu2, var_scale)
          y = Relu(a) }"""
    return fit(run_passes(parse(text), "plugin").model, target)


@functools.cache
def outcomes(*twins):
    shapes = {"x": [(1, 7, 4, 4), (2, 7, 8, 6), (3, 7, 8, 8)]}
    jobs = [Job(model(target), shapes) for target in TARGETS.values()]
    return dict(zip(TARGETS, run(jobs, twins=twins), strict=True))


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_runs_its_plugin_or_body_where_each_is_there(target):
    for outcome, expected in (
        (outcomes()[target], WITHOUT_PLUGIN[target]),
        (outcomes("nd_deploy")[target], WITH_PLUGIN[target]),
    ):
        assert outcome.path == expected
        assert bool(outcome.bytes) == (expected != "refused")
        if expected == "plugin":
            assert outcome.plugins == [["NDChannelDeconvLeftoverRelu", "1", "nd_deploy"]]
