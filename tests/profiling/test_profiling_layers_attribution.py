"""Which ND layer a runtime's layer belongs to, by made-up and by real names."""

import pytest
from onnx import parser

from nd_deploy.profiling.figures import LayerTime
from nd_deploy.profiling.layers import by_nd_layer
from nd_deploy.profiling.layers.attribution import (
    Place,
    attribution_of,
    nd_layer_of,
    tell_bodies_apart,
)

# The parser takes no dots in names; `network` puts one in place of "__".
NETWORK = """
<ir_version: 10, opset_import: ["": 20, "nd_deploy": 1]>
net (float[N, 4, 8, 8] x) => (float[N, 4, 8, 8] y)
{
    [conv1] a = Conv (x, w1)
    [node_relu] r = Relu (a)
    [layer1__0__conv10] b = Conv (r, w2)
    [add] s = Add (b, r)
    [node_relu_1] t = Relu (s)
    [norm] u = BatchNormalization (t, p, p, p, p)
    [norm5] v = nd_deploy.NDChannelDeconv (u, m, d)
    [other] y = Conv (v, w3)
}
"""
BODY = """
<opset_import: ["": 20], domain: "nd_deploy">
NDChannelDeconv (x, m, d) => (y) { [y] y = Sub (x, m) }
"""
ND = ("conv1", "layer1.0.conv1", "layer1.0.conv10", "norm5")


def network(**layers):
    model = parser.parse_model(NETWORK)
    model.functions.append(parser.parse_function(BODY))
    for node in model.graph.node:
        node.name = node.name.replace("__", ".")
        if node.name in layers:
            node.metadata_props.add(key="nd_deploy.layers", value=layers[node.name])
    return model


@pytest.fixture
def found():
    return attribution_of(network(), ND)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("conv1", "conv1"),
        ("conv1/Conv_3", "conv1"),
        ("conv1.statistics", "conv1"),
        ("layer1.0.conv1/MatMul_2", "layer1.0.conv1"),
        ("layer1.0.conv10/MatMul_2", "layer1.0.conv10"),
        ("layer1.0/Add_1", None),
        ("conv12/Conv_1", None),
        ("node_relu", None),
    ],
)
def test_a_path_ends_where_a_name_of_a_module_ends(name, layer):
    assert nd_layer_of(name, ND) == layer


def test_of_two_nested_paths_the_longer_one_tells():
    assert nd_layer_of("block.conv/Conv_1", ("block", "block.conv")) == "block.conv"


class TestOrtNodes:
    @pytest.mark.parametrize(
        ("name", "op", "place"),
        [
            ("conv1", "FusedConv", Place("conv1", "FusedConv", "conv1")),
            ("r_nchwc", "Conv", Place("conv1", "Conv + Relu", "conv1")),
            ("r_nchwc_token_4", "Conv", Place("conv1", "Conv + Relu", "conv1")),
            ("a_nchwc", "Conv", Place("conv1", "Conv", "conv1")),
            (
                "fused layer1.0.conv10/MatMulAddFusion",
                "FusedGemm",
                Place("layer1.0.conv10", "FusedGemm", "layer1.0.conv10"),
            ),
            ("ReorderOutput", "ReorderOutput", Place("ReorderOutput", "ReorderOutput", None)),
        ],
    )
    def test_their_names_lead_back_to_the_model_s(self, found, name, op, place):
        assert found.of_ort_node(name, op) == place

    def test_a_way_back_that_forks_leads_to_no_layer(self, found):
        assert found.of_ort_node("t_nchwc", "Conv") == Place("node_relu_1", "Conv", None)

    def test_a_way_back_ends_at_what_another_node_computes(self):
        # Without the addition the way from the normalisation would lead on to the Conv.
        model = network()
        model.graph.node[3].op_type = "Identity"
        del model.graph.node[3].input[1]
        attribution = attribution_of(model, ND)
        alone = attribution.of_ort_node("u_nchwc", "Conv", {"u_nchwc"})
        beside = attribution.of_ort_node("u_nchwc", "Conv", {"u_nchwc", "t_nchwc"})
        assert alone.nd_layer == "layer1.0.conv10"
        assert beside == Place("norm", "Conv", None)

    def test_nodes_of_a_body_belong_to_the_layer_that_has_it(self):
        model = network()
        assert tell_bodies_apart(model)
        attribution = attribution_of(model, ND)
        assert attribution.of_ort_node("_inlfunc_at6_y", "Sub") == Place("norm5/y", "Sub", "norm5")
        assert attribution.of_ort_node("_inlfunc_at7_y", "Sub").nd_layer is None


class TestFoldedNodes:
    def test_one_that_several_have_folded_into_belongs_to_the_one_it_is(self):
        attribution = attribution_of(network(conv1="norm5,conv1"), ND)
        assert attribution.of_ort_node("conv1", "Conv").nd_layer == "conv1"

    def test_one_of_another_name_belongs_to_the_layer_that_it_holds(self):
        attribution = attribution_of(network(other="norm5"), ND)
        assert attribution.of_ort_node("other", "Conv").nd_layer == "norm5"

    def test_one_of_another_name_that_holds_several_belongs_to_none(self):
        attribution = attribution_of(network(other="norm5,conv1"), ND)
        assert attribution.of_ort_node("other", "Conv").nd_layer is None


class TestEngineLayers:
    @pytest.mark.parametrize(
        ("name", "op", "layer"),
        [
            ("conv1", "Conv", "conv1"),
            ("conv1 + node_relu", "Conv + Relu", "conv1"),
            ("layer1.0.conv10 + add + node_relu_1", "Conv + Add + Relu", "layer1.0.conv10"),
            ("PWN(PWN(add), node_relu_1)", "Add + Relu", None),
            ("conv1 + layer1.0.conv10", "Conv + Conv", None),
            ("{ForeignNode[conv1...node_relu_1]}", "Conv + Relu", None),
            ("{ForeignNode[conv1/Reshape_0...conv1/Conv_3]}", "unknown", "conv1"),
            ("Reformatting CopyNode for Input Tensor 0 to conv1 + node_relu", "Reformat", None),
            ("copied_squeeze_after_7", "unknown", None),
        ],
    )
    def test_their_names_hold_those_of_nodes(self, found, name, op, layer):
        assert found.of_engine_layer(name) == Place(name, op, layer)


def test_the_number_of_an_unnamed_layer_is_no_module_s_name():
    attribution = attribution_of(network(), ("4", "5"))
    name = "(Unnamed Layer* 4) [Shuffle]"
    assert attribution.of_engine_layer(name) == Place(name, "unknown", None)
    assert attribution.of_engine_layer("4 || 5").nd_layer is None
    assert attribution.of_engine_layer("4 + (Unnamed Layer* 5) [Shuffle]").nd_layer == "4"


class TestBodies:
    def test_each_node_gets_a_function_of_its_own(self):
        model = network()
        twin = model.graph.node.add()
        twin.CopyFrom(model.graph.node[6])
        assert tell_bodies_apart(model)
        assert [node.op_type for node in model.graph.node][6:] == ["at6", "Conv", "at8"]
        bodies = {f.name: [n.op_type for n in f.node] for f in model.functions}
        assert bodies == {"NDChannelDeconv": ["Sub"], "at6": ["Sub"], "at8": ["Sub"]}

    def test_a_model_without_bodies_stays_as_it_is(self):
        model = parser.parse_model(NETWORK)
        before = model.SerializeToString()
        assert not tell_bodies_apart(model)
        assert model.SerializeToString() == before


def test_the_times_of_an_nd_layer_are_summed_and_the_rest_is_by_itself():
    times = (
        LayerTime("b/MatMul", "MatMul", 0.5, "b"),
        LayerTime("relu", "Relu", 0.25),
        LayerTime("a", "Conv", 2.0, "a"),
        LayerTime("b/Conv", "Conv", 1.0, "b"),
    )
    assert list(by_nd_layer(times).items()) == [("b", 1.5), (None, 0.25), ("a", 2.0)]
