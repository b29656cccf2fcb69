import numpy as np
import pytest
from graphs import parse, rewrite
from onnx import numpy_helper

from nd_deploy.passes.base import Action
from nd_deploy.passes.lower_channel_deconv import LowerChannelDeconv
from nd_deploy.passes.pipeline import PASSES

WHOLE = """(float[{shape}] x) => (float[{shape}] y) <float[2] mu, float[2,2] D>
    {{ [white] a = nd_deploy.NDChannelDeconv(x, mu, D) y = Relu(a) }}"""
LEFTOVER = """(float[{shape}] x) => (float[{shape}] y)
    <float[4] mu, float[4,4] D, float[1] mean, float[1] var_scale>
    {{ [white] a = nd_deploy.NDChannelDeconvLeftover(x, mu, D, mean, var_scale) y = Relu(a) }}"""


def lower(text, **options):
    return rewrite(text, LowerChannelDeconv(), **options)


@pytest.mark.parametrize("text", [WHOLE, LEFTOVER], ids=["whole", "leftover"])
@pytest.mark.parametrize(("shape", "positions"), [("N,6,L", 1), ("N,6,H,W", 2), ("N,6,T,H,W", 3)])
def test_on_a_feature_map_it_becomes_a_convolution_of_one_tap(text, shape, positions):
    found = lower(text.format(shape=shape), sizes={"L": 4, "T": 2})
    assert found.ops == ["Conv", "Relu"]
    node = found.graph.nodes[0]
    assert (node.name, node.attrs) == ("white", {"kernel_shape": [1] * positions})
    assert node.inputs[1].shape == (6, 6, *[1] * positions)


@pytest.mark.parametrize("text", [WHOLE, LEFTOVER], ids=["whole", "leftover"])
def test_on_a_matrix_it_becomes_a_gemm(text):
    found = lower(text.format(shape="N,6"))
    assert found.ops == ["Gemm", "Relu"]
    assert found.graph.nodes[0].attrs == {"transB": 1}


def test_a_block_of_one_channel_is_a_diagonal():
    """How a block larger than the channels is exported."""
    found = lower(
        """(float[N,3,H,W] x) => (float[N,3,H,W] y) <float[1] mu, float[1,1] D>
        { [white] y = nd_deploy.NDChannelDeconv(x, mu, D) }"""
    )
    D = numpy_helper.to_array(found.before.graph.initializer[1])
    assert np.array_equal(found.initializer("white.weight")[..., 0, 0], np.eye(3) * D[0, 0])


def test_a_block_larger_than_the_channels_never_reads_d():
    found = lower(
        """(float[N,3,H,W] x) => (float[N,3,H,W] y)
        <float[4] mu, float[4,4] D, float[1] mean, float[1] var_scale>
        { [white] y = nd_deploy.NDChannelDeconvLeftover(x, mu, D, mean, var_scale) }""",
        mu=np.full(4, np.nan),
        D=np.full((4, 4), np.nan),
    )
    assert found.ops == ["Conv"]
    assert np.isfinite(found.initializer("white.weight")).all()


def test_the_parameters_get_names_of_their_own():
    before = parse(
        """(float[N,4] x) => (float[N,4] y) <float[2] mu, float[2,2] D, float[4] taken>
        { [white] a = nd_deploy.NDChannelDeconv(x, mu, D) y = Add(a, taken) }"""
    )
    before.graph.initializer[2].name = before.graph.node[1].input[1] = "white.weight"
    found = lower(before)
    names = [t.name for node in found.graph.nodes for t in node.inputs[1:]]
    assert names == ["white.weight_1", "white.bias", "white.weight"]


def test_the_decision_says_why_nothing_better_applied():
    found = lower(WHOLE.format(shape="N,6,H,W"))
    decision = found.decision
    assert (decision.layer, decision.op_type) == ("white", "NDChannelDeconv")
    assert (decision.action, decision.into) == (Action.LOWERED, ("white",))
    assert decision.reason == "no linear layer is within reach"
    (decision,) = rewrite(WHOLE.format(shape="N,6,H,W"), *PASSES).decisions
    assert decision.action is Action.LOWERED


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (
            "(float[N,C,H,W] x) => (float[N,C,H,W] y)",
            "x has an unknown or dynamic number of channels",
        ),
        (
            "(float[N,8194] x) => (float[N,8194] y)",
            "a dense matrix of 8194 x 8194 would be too large",
        ),
    ],
)
def test_a_matrix_of_unknown_or_excessive_size_is_refused(before, reason):
    found = lower(
        f"{before} <float[2] mu, float[2,2] D> {{ y = nd_deploy.NDChannelDeconv(x, mu, D) }}",
        sizes={"C": 4},
    )
    assert found.refusal == reason
    assert found.ops == ["NDChannelDeconv"]
