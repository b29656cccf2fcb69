"""All passes in their order: what is left of a network, and what is said about each layer."""

import json

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from graphs import assert_close, assert_same_outputs, feeds, geometry, in_onnxruntime, parse

from nd_deploy.errors import GraphError
from nd_deploy.passes.base import Action, Decision, NodePass, Refusal
from nd_deploy.passes.model import load
from nd_deploy.passes.pipeline import PASSES, run_on_graph, run_passes

MAP = "float[2] mu, float[2,2] D"
VGG = f"""(float[N,3,8,8] x) => (float[N,5] y)
    <float[8,3,3,3] w0, float[8] b0, float[1,27] mu0, float[1,27,27] D0,
     float[8] scale, float[8] shift, float[8] mean, float[8] var,
     float[4] mu1, float[4,4] D1, float[6,128] w2, float[6] b2, float[64] mu2, float[64,64] D2,
     float[4] mu3, float[4,4] D3, float[1] m3, float[1] var3, float[5,6] w4>
    {{
        [features_0] c = nd_deploy.NDFastDeconv <{geometry(3, padding=1)}> (x, w0, b0, mu0, D0)
        [features_1] n = BatchNormalization(c, scale, shift, mean, var)
        r = Relu(n)
        p = MaxPool <kernel_shape=[2,2], strides=[2,2]> (r)
        [deconv] d = nd_deploy.NDChannelDeconv(p, mu1, D1)
        i = Identity(d)
        f = Flatten(i)
        [fc] l = nd_deploy.NDDelinear(f, w2, b2, mu2, D2)
        s = Sigmoid(l)
        o = Dropout(s)
        [deconv_2] e = nd_deploy.NDChannelDeconvLeftover(o, mu3, D3, m3, var3)
        [classifier] y = Gemm <transB=1> (e, w4)
    }}"""
NORM5 = f"""(float[N,2,H,W] x, float[N,4,H,W] z) => (float[N,6,H,W] y) <{MAP}>
    {{
        [join] c = Concat <axis=1> (x, z)
        [norm5] d = nd_deploy.NDChannelDeconv(c, mu, D)
        [act] y = Relu(d)
    }}"""


def run(text, passes=PASSES, **options):
    model = parse(text, **options)
    graph = load(model)
    decisions = run_on_graph(graph, passes)
    assert_same_outputs(model, graph, feeds(model))
    return [node.op for node in graph.nodes], decisions


def metadata(model):
    return {
        node.name: {entry.key: entry.value for entry in node.metadata_props}
        for node in model.graph.node
        if node.metadata_props
    }


def test_the_order_of_the_passes():
    assert [rewrite.name for rewrite in PASSES] == [
        "cleanup",
        "fold_constants",
        "fold_fast_deconv",
        "fold_delinear",
        "fold_batch_norm",
        "fold_centre",
        "push_channel_deconv",
        "lower_channel_deconv",
        "fold_batch_norm",
        "fold_centre",
        "lower_centre",
        "cleanup",
    ]


def test_a_network_becomes_one_of_plain_layers():
    ops, decisions = run(VGG)
    assert ops == ["Conv", "Relu", "MaxPool", "Flatten", "Gemm", "Sigmoid", "Gemm"]
    assert [(d.layer, d.action, d.into) for d in decisions] == [
        ("features_0", Action.FOLDED, ("features_0",)),
        ("features_1", Action.BACKWARD, ("features_0",)),
        ("deconv", Action.FORWARD, ("fc",)),
        ("fc", Action.FOLDED, ("fc",)),
        ("deconv_2", Action.FORWARD, ("classifier",)),
    ]


def test_the_model_that_was_given_stays_and_the_folded_one_is_float32():
    model = parse(VGG)
    before = model.SerializeToString(deterministic=True)
    folded = run_passes(model).model
    assert model.SerializeToString(deterministic=True) == before
    assert {t.data_type for t in folded.graph.initializer} == {onnx.TensorProto.FLOAT}
    assert folded.graph.input == model.graph.input
    assert folded.graph.output == model.graph.output
    assert not folded.functions
    onnx.checker.check_model(folded, full_check=True)


def test_the_same_model_gives_the_same_bytes():
    one, two = (run_passes(parse(VGG)).model for _ in range(2))
    assert one.SerializeToString(deterministic=True) == two.SerializeToString(deterministic=True)


def test_every_node_says_which_layers_it_holds_and_which_passes_put_them_there():
    assert metadata(run_passes(parse(VGG)).model) == {
        "features_0": {
            "nd_deploy.layers": "features_0,features_1",
            "nd_deploy.passes": "fold_fast_deconv,fold_batch_norm",
        },
        "fc": {
            "nd_deploy.layers": "deconv,fc",
            "nd_deploy.passes": "push_channel_deconv,fold_delinear",
        },
        "classifier": {
            "nd_deploy.layers": "deconv_2",
            "nd_deploy.passes": "push_channel_deconv",
        },
    }


def test_a_layer_between_a_join_and_an_activation_is_lowered_and_says_why():
    """ImageNet DenseNet-121's norm5."""
    ops, (decision,) = run(NORM5)
    assert ops == ["Concat", "Conv", "Relu"]
    assert (decision.action, decision.pass_name) == (Action.LOWERED, "lower_channel_deconv")
    assert decision.reason == (
        "no linear layer is within reach (forward: Relu act does not commute with mixing channels; "
        "backward: Concat join produces c (Concat is not a convolution or a linear layer))"
    )


def test_a_layer_that_no_pass_can_place_is_kept_and_runs():
    text = NORM5.replace("2,H,W] x", "C,H,W] x").replace("4,H,W] z", "C,H,W] z")
    model = parse(text.replace("6,H,W] y", "K,H,W] y"))
    folded = run_passes(model)
    (decision,) = folded.decisions
    assert (decision.action, decision.into) == (Action.KEPT, ("norm5",))
    assert decision.reason == "c has an unknown or dynamic number of channels"
    assert [f.name for f in folded.model.functions] == ["NDChannelDeconv"]
    assert metadata(folded.model)["norm5"]["nd_deploy.layers"] == "norm5"
    inputs = feeds(model, C=3)
    assert_close(in_onnxruntime(folded.model, inputs), in_onnxruntime(model, inputs), 1e-6)


def test_a_layer_that_no_pass_looked_at_is_kept():
    ops, (decision,) = run(NORM5, passes=())
    assert ops == ["Concat", "NDChannelDeconv", "Relu"]
    assert (decision.action, decision.reason) == (Action.KEPT, "no pass looked at it")


def test_a_layer_inside_a_branch_is_kept_and_runs():
    model = parse(
        f"""(float[N,4,H,W] x, bool positive) => (float[N,4,H,W] y) <{MAP}>
        {{
            y = If (positive) <
                then_branch = one () => (float[N,4,H,W] b)
                {{ [inner] b = nd_deploy.NDChannelDeconv(x, mu, D) }},
                else_branch = other () => (float[N,4,H,W] c) {{ c = Relu(x) }}
            >
        }}"""
    )
    folded = run_passes(model)
    (decision,) = folded.decisions
    assert (decision.layer, decision.action) == ("inner", Action.KEPT)
    assert decision.reason == "no pass looks into subgraphs"
    inputs = feeds(model) | {"positive": np.array(True)}
    assert_close(in_onnxruntime(folded.model, inputs), in_onnxruntime(model, inputs), 0)


def test_a_norm_behind_a_channel_deconv_folds_once_that_is_gone():
    ops, decisions = run(
        f"""(float[N,3,H,W] x) => (float[] y)
        <{MAP}, float[4,3,3,3] weight, float[4] scale, float[4] shift, float[4] mean, float[4] var>
        {{
            [conv] c = Conv <pads=[1,1,1,1]> (x, weight)
            [deconv] d = nd_deploy.NDChannelDeconv(c, mu, D)
            [norm] y = BatchNormalization(d, scale, shift, mean, var)
        }}"""
    )
    assert ops == ["Conv"]
    assert [(d.layer, d.into) for d in decisions] == [("deconv", ("conv",)), ("norm", ("conv",))]


def test_two_in_a_row_without_a_linear_layer_are_both_lowered():
    ops, decisions = run(
        f"""(float[N,4,H,W] x) => (float[N,4,H,W] y) <{MAP}>
        {{
            [one] a = nd_deploy.NDChannelDeconv(x, mu, D)
            [two] b = nd_deploy.NDChannelDeconv(a, mu, D)
            y = Relu(b)
        }}"""
    )
    assert ops == ["Conv", "Conv", "Relu"]
    assert [d.action for d in decisions] == [Action.LOWERED, Action.LOWERED]


def test_unnamed_layers_are_told_apart():
    ops, decisions = run(
        """(float[N,4] x) => (float[N,4] y) <float[4,4] w, float[4] b, float[2] mu, float[2,2] D>
        {
            a = nd_deploy.NDDelinear(x, w, b, mu, D)
            r = Relu(a)
            y = nd_deploy.NDDelinear(r, w, b, mu, D)
        }"""
    )
    assert ops == ["Gemm", "Relu", "Gemm"]
    assert [d.layer for d in decisions] == ["NDDelinear", "NDDelinear_1"]


def test_a_network_without_nd_layers_passes_through():
    ops, decisions = run("(float[N,4] x) => (float[N,4] y) { a = Identity(x) y = Relu(a) }")
    assert (ops, decisions) == (["Relu"], [])


def test_a_model_that_is_not_valid_is_refused():
    model = parse(VGG)
    del model.graph.node[0].attribute[0].ints[0]
    with pytest.raises(GraphError, match="not valid ONNX"):
        run_passes(model)


def test_decisions_are_plain_values_by_name():
    model = parse(VGG)
    (first, *_) = (d.as_dict() for d in run_passes(model).decisions)
    (certificate,) = first.pop("certificates")
    assert set(certificate) >= {"growth", "condition", "storage_error"}
    assert first == {
        "layer": "features_0",
        "op_type": "NDFastDeconv",
        "action": "folded",
        "reason": "D whitens the patches of the convolution, so it folds into the weight",
        "pass": "fold_fast_deconv",
        "into": ["features_0"],
    }
    assert json.loads(json.dumps(first)) == first


def test_ops_of_other_domains_that_share_a_name_are_left_alone():
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["": 18, "local": 1]>
        network (float[N,4] x) => (float[N,4] y)
        { d = local.NDChannelDeconv(x) y = local.BatchNormalization(d) }
        <domain: "local", opset_import: ["": 18]> NDChannelDeconv (x) => (y) { y = Relu(x) }
        <domain: "local", opset_import: ["": 18]> BatchNormalization (x) => (y) { y = Neg(x) }"""
    )
    graph = load(model)
    assert run_on_graph(graph) == []
    assert [node.op for node in graph.nodes] == ["NDChannelDeconv", "BatchNormalization"]


class LastTwo(NodePass):
    """Renames the last node of some and refuses the others."""

    name, op_types = "last_two", ("Relu", "Abs")

    def __init__(self):
        self.seen = []

    def place(self, graph: gs.Graph, node: gs.Node) -> Decision | Refusal:
        self.seen.append(node.name)
        if node.op == "Abs":
            return Refusal("it is an Abs")
        return Decision(node.name, node.op, Action.FOLDED, "it is a Relu", self.name)


def test_a_node_pass_takes_nodes_last_first_and_reports_them_in_order():
    graph = load(
        parse(
            """(float[N] x) => (float[N] y)
            { [r1] a = Relu(x) [a1] b = Abs(a) [n] c = Neg(b) [r2] d = Relu(c) [a2] y = Abs(d) }"""
        )
    )
    rewrite = LastTwo()
    result = rewrite(graph)
    assert rewrite.seen == ["a2", "r2", "a1", "r1"]
    assert [d.layer for d in result.decisions] == ["r1", "r2"]
    reason = Refusal("it is an Abs")
    assert result.refusals == [("a1", reason), ("a2", reason)]
    assert result.pass_name == "last_two"
