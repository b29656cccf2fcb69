import numpy as np
import pytest
from graphs import parse
from onnx import numpy_helper

from nd_deploy.passes.base import Refusal
from nd_deploy.passes.channel_map import read_channel_map
from nd_deploy.passes.model import load

WHOLE = """(float[N,6,H,W] x) => (float[N,6,H,W] y) <float[2] mu, float[2,2] D>
    { y = nd_deploy.NDChannelDeconv(x, mu, D) }"""
LEFTOVER = """(float[N,6,H,W] x) => (float[N,6,H,W] y)
    <float[4] mu, float[4,4] D, float[1] mean, float[1] scale>
    { y = nd_deploy.NDChannelDeconvLeftover(x, mu, D, mean, scale) }"""


def read(text):
    model = parse(text)
    (node,) = [n for n in load(model).nodes if n.domain == "nd_deploy"]
    return read_channel_map(node), {
        t.name: numpy_helper.to_array(t) for t in model.graph.initializer
    }


def test_it_reads_mean_and_d_and_counts_the_channels():
    found, parameters = read(WHOLE)
    assert np.array_equal(found.mean, parameters["mu"])
    assert np.array_equal(found.deconv, parameters["D"])
    assert (found.channels, found.whitened) == (6, 6)
    assert (found.leftover_mean, found.leftover_scale) == (0, 1)


def test_it_reads_what_happens_to_leftover_channels():
    found, parameters = read(LEFTOVER)
    assert (found.channels, found.whitened) == (6, 4)
    assert found.leftover_mean == parameters["mean"][0]
    assert found.leftover_scale == parameters["scale"][0]


def test_it_reads_a_matrix_of_features():
    assert read(WHOLE.replace("N,6,H,W", "N,6"))[0].channels == 6


REFUSED = {
    "x has an unknown or dynamic number of channels": WHOLE.replace("N,6,", "N,C,"),
    "open has an unknown or dynamic number of channels": """
        (float[N,6] x, int64[axes] shape) => (float[N,6] y) <float[2] mu, float[2,2] D>
        { open = Reshape(x, shape) y = nd_deploy.NDChannelDeconv(open, mu, D) }""",
    "6 channels do not split into blocks of 4": """
        (float[N,6] x) => (float[N,6] y) <float[4] mu, float[4,4] D>
        { y = nd_deploy.NDChannelDeconv(x, mu, D) }""",
    "late is computed at run time": """
        (float[N,6] x) => (float[N,6] y) <float[2] mu, float[2,2] D>
        { late = Abs(D) y = nd_deploy.NDChannelDeconv(x, mu, late) }""",
    "mu is float16; fold before casting the network": WHOLE.replace("float[", "float16["),
}


@pytest.mark.parametrize(("reason", "text"), REFUSED.items(), ids=REFUSED)
def test_a_map_that_is_not_constant_is_refused(reason, text):
    found, _ = read(text)
    assert found == Refusal(reason)
