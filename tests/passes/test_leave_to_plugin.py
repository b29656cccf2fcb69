import numpy as np
import pytest
from graphs import parse, rewrite
from onnx import numpy_helper

from nd_deploy.errors import InputError
from nd_deploy.passes.base import Action
from nd_deploy.passes.leave_to_plugin import LeaveToPlugin
from nd_deploy.passes.pipeline import passes_for, run_passes
from nd_deploy.runtime.reference import ReferenceRunner

WHOLE = """(float[N,6,H,W] x) => (float[N,6,H,W] y) <float[2] mu, float[2,2] D>
    {{ [white] a = nd_deploy.NDChannelDeconv(x, mu, D) {rest} }}"""
LEFTOVER = """(float[N,6,H,W] x) => (float[N,6,H,W] y)
    <float[4] mu, float[4,4] D, float[1] mean, float[1] var_scale>
    {{ [white] a = nd_deploy.NDChannelDeconvLeftover(x, mu, D, mean, var_scale) {rest} }}"""


@pytest.mark.parametrize(
    ("text", "op"),
    [(WHOLE, "NDChannelDeconvRelu"), (LEFTOVER, "NDChannelDeconvLeftoverRelu")],
    ids=["whole", "leftover"],
)
def test_the_activation_behind_becomes_part_of_the_node(text, op):
    found = rewrite(text.format(rest="[act] y = Relu(a)"), LeaveToPlugin())
    assert found.ops == [op]
    (decision,) = found.decisions
    assert decision.action is Action.PLUGIN
    assert decision.into == ("white",)
    assert "takes the activation act along" in decision.reason
    # What the layer was is what reports call it.
    assert decision.op_type == op.removesuffix("Relu")


@pytest.mark.parametrize(
    ("rest", "ops"),
    [
        ("y = Sigmoid(a)", ["NDChannelDeconv", "Sigmoid"]),
        ("b = Relu(a) c = Abs(a) y = Add(b, c)", ["NDChannelDeconv", "Relu", "Abs", "Add"]),
    ],
    ids=["another activation", "the whitened tensor is read twice"],
)
def test_what_is_no_sole_relu_stays_where_it_is(rest, ops):
    found = rewrite(WHOLE.format(rest=rest), LeaveToPlugin())
    assert found.ops == ops


def test_a_whitened_output_of_the_model_keeps_its_activation_behind_it():
    text = """(float[N,6,H,W] x) => (float[N,6,H,W] a, float[N,6,H,W] y) <float[2] mu, float[2,2] D>
        { [white] a = nd_deploy.NDChannelDeconv(x, mu, D) y = Relu(a) }"""
    assert rewrite(text, LeaveToPlugin()).ops == ["NDChannelDeconv", "Relu"]


def test_a_map_that_is_computed_at_run_time_is_refused():
    text = """(float[N,6] x, float[2,2] D) => (float[N,6] y) <float[2] mu>
        { [white] y = nd_deploy.NDChannelDeconv(x, mu, D) }"""
    found = rewrite(text, LeaveToPlugin())
    assert not found.decisions
    assert found.ops == ["NDChannelDeconv"]


def test_only_what_folds_nowhere_is_left_to_the_plugin():
    model = parse(
        """(float[N,6,H,W] x) => (float[] y)
        <float[2] mu, float[2,2] D, float[5,6,1,1] w>
        {
            [first] a = nd_deploy.NDChannelDeconv(x, mu, D)
            b = Sigmoid(a)
            [second] c = nd_deploy.NDChannelDeconv(b, mu, D)
            y = Conv(c, w)
        }"""
    )
    folded = run_passes(model, whitening="plugin")
    assert {d.layer: d.action for d in folded.decisions} == {
        "first": Action.PLUGIN,
        "second": Action.FORWARD,
    }
    assert "forward:" in folded.decisions[0].reason
    x = np.random.default_rng(0).normal(size=(2, 6, 3, 4))
    before, after = (ReferenceRunner(m).run({"x": x})["y"] for m in (model, folded.model))
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-6 * np.abs(before).max())


def test_the_node_keeps_its_float32_parameters_and_its_body():
    folded = run_passes(parse(WHOLE.format(rest="y = Relu(a)")), whitening="plugin").model
    assert [f.name for f in folded.functions] == ["NDChannelDeconvRelu"]
    assert {numpy_helper.to_array(t).dtype for t in folded.graph.initializer} == {
        np.dtype(np.float32)
    }


def test_another_last_resort_is_an_error():
    with pytest.raises(InputError, match="whitening 'gemm' is not known") as caught:
        passes_for("gemm")
    assert "conv, plugin" in caught.value.remedy
