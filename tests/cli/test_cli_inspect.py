import json

from tiny_bundle import decisions

from nd_deploy.fold.decisions import action_in_words
from nd_deploy.passes.base import Action


def test_each_layer_has_its_decision_and_the_worst_of_its_certificates(bundle, invoke):
    lines = invoke("inspect", bundle).stdout.splitlines()
    first = next(line for line in lines if line.startswith("layers.0 "))
    assert "folded into itself" in first
    assert first.split()[-4:] == ["4.5", "5.5", "7e+03", "3e-08"]
    lowered = next(line for line in lines if line.startswith("norm5"))
    assert "lowered to a 1x1 convolution: n" in lowered
    assert lowered.split()[-4:] == ["-", "-", "-", "-"]


def test_a_reason_is_printed_once_however_many_layers_have_it(make_bundle, invoke):
    output = invoke("inspect", make_bundle(decisions=decisions(count=200)).path).stdout
    assert output.count("D whitens what the convolution reads") == 1
    assert "[2] a Relu is next" in output
    assert len(output.splitlines()) < 200 + 25


def test_the_rest_of_the_bundle_is_told(bundle, invoke):
    output = invoke("inspect", bundle).stdout
    assert "tiny: 4 ND layers, float32" in output
    assert "reads image float32 (batch, 1, 2, 2); gives logits float32 (batch, 3)" in output
    assert "warning: layers.0: untrained" in output
    assert "the graph has 1 Flatten, 1 MatMul" in output
    assert "PASS" in output


def test_a_network_without_nd_layers_can_be_inspected(make_bundle, invoke):
    assert "0 ND layers" in invoke("inspect", make_bundle(decisions=[]).path).stdout


def test_json_holds_all_of_it(bundle, invoke):
    document = json.loads(invoke("inspect", bundle, "--json").stdout)
    assert document["manifest"]["nodes_left"] == {"Flatten": 1, "MatMul": 1}
    assert document["decisions"][0]["certificates"][0]["condition"] == 5.5
    assert document["warnings"] == ["layers.0: untrained"]
    assert document["parity"]["passed"] is True


def test_actions_are_words_and_unknown_ones_are_left_alone():
    assert action_in_words("forward") == Action.FORWARD.value
    assert action_in_words("teleported") == "teleported"
