from types import SimpleNamespace

import pytest

from nd_deploy.compat.trt import PluginId
from nd_deploy.errors import BackendError
from nd_deploy.runtime.tensorrt.building.paths import read_paths, require_asked
from nd_deploy.runtime.tensorrt.building.request import BuildRequest
from nd_deploy.runtime.tensorrt.facts import NodeFacts

OP = "NDChannelDeconv"
OURS = PluginId(OP, "1", "nd_deploy")


def node(label="norm", op_type=OP, namespace="nd_deploy", version="1", layers=None):
    layers = layers or (label,)
    return NodeFacts(label, op_type, "nd_deploy", "z", layers, True, namespace, version)


def kinds(name):
    return SimpleNamespace(name=name)


class Layer:
    """TensorRT gives every layer as one class, to be turned into that of its kind."""

    def __init__(self, **fields):
        vars(self).update(fields)


def core(name):
    """A plugin's core interface, which knows its name in most versions."""
    return SimpleNamespace(plugin_name=name, plugin_version="1", plugin_namespace="nd_deploy")


def layer(kind, name, output, metadata="", interface=None):
    tensor = SimpleNamespace(name=output)
    interface = interface or core(OP)
    plugin = SimpleNamespace(get_capability_interface=lambda kind: interface)
    return Layer(
        type=kinds(kind),
        name=name,
        metadata=metadata,
        num_outputs=1,
        get_output=lambda index: tensor,
        plugin=plugin,
    )


class Network:
    def __init__(self, *layers):
        self.layers, self.num_layers = layers, len(layers)

    def get_layer(self, index):
        return self.layers[index]


def tensorrt(override=True, squeeze=True):
    """A module of TensorRT as far as the parser's rule goes."""
    flag = SimpleNamespace(ENABLE_PLUGIN_OVERRIDE=0) if override else SimpleNamespace()
    kind = SimpleNamespace(SQUEEZE=0) if squeeze else SimpleNamespace()
    return SimpleNamespace(
        OnnxParserFlag=flag,
        LayerType=kind,
        IPluginV3Layer=Layer,
        PluginCapabilityType=SimpleNamespace(CORE=0),
    )


BODY = Network(layer("CAST", "node_of_y", "z", "[ONNX Layer: node_of_y | norm (NDChannelDeconv)]"))
PLUGIN = Network(layer("PLUGIN_V3", "norm", "z"))


def read(network, nodes, model="model.onnx", **options):
    return read_paths(tensorrt(), network, nodes, BuildRequest(model, **options))


def test_a_body_and_a_plugin_are_told_apart():
    (body,) = read(BODY, [node()])
    assert (body.path, body.plugin, body.asked) == ("body", None, "body")
    (plugin,) = read(PLUGIN, [node()])
    assert (plugin.path, plugin.plugin) == ("plugin", "nd_deploy::NDChannelDeconv 1")


def test_a_body_whose_tensors_were_renamed_is_known_by_what_the_parser_notes():
    renamed = Network(layer("CAST", "node_of_y", "z_7", "[ONNX Layer: n | norm (NDChannelDeconv)]"))
    (path,) = read(renamed, [node()])
    assert path.path == "body"


@pytest.mark.parametrize(
    "untold", [layer("PLUGIN_V2", "norm", "z"), layer("PLUGIN_V3", "norm", "z", interface=object())]
)
def test_a_plugin_that_does_not_tell_its_name_is_the_one_that_the_node_asks_for(untold):
    (path,) = read(Network(untold), [node()])
    assert (path.path, path.plugin) == ("plugin", "nd_deploy::NDChannelDeconv 1")


def test_a_node_that_is_nowhere_is_absent():
    (path,) = read(Network(layer("CONVOLUTION", "other", "q")), [node()])
    assert path.path == "absent"
    with pytest.raises(BackendError, match="was to run as body, and is absent"):
        require_asked(tensorrt(), [path], [node()], [])


def test_plugins_that_are_given_are_expected_to_be_used():
    (path,) = read(PLUGIN, [node()], python_plugins=True)
    assert path.asked == "plugin"


def test_an_op_without_a_plugin_is_expected_as_its_body():
    (path,) = read(BODY, [node(op_type="NDCentre")], python_plugins=True)
    assert path.asked == "body"


def test_what_is_expected_of_one_node_goes_before_what_is_expected_of_all():
    options = {"python_plugins": True, "expected_default": "body", "expected": {"norm": "plugin"}}
    (path,) = read(PLUGIN, [node()], **options)
    assert path.asked == "plugin"


def decision(layer, action, into, op_type="NDFastDeconv"):
    return {"layer": layer, "op_type": op_type, "action": action, "into": into}


def test_layers_without_a_node_are_folded_or_written_in_standard_operators():
    decisions = (
        decision("a", "folded", ["a"]),
        decision("b", "backward", ["a"]),
        decision("c", "lowered", ["c"]),
        decision("d", "subtracted", ["d"]),
    )
    paths = read(BODY, [], decisions=decisions)
    assert [path.path for path in paths] == ["folded", "folded", "standard", "standard"]
    assert all(path.asked == path.path for path in paths)
    assert paths[1].nodes == ("a",)


def test_a_layer_whose_node_is_left_is_told_once():
    paths = read(BODY, [node(layers=("n",))], decisions=(decision("n", "kept", ["norm"], OP),))
    assert [(path.layer, path.path) for path in paths] == [("n", "body")]


def reason(asked_plugin, nodes, registered, trt=None):
    network = BODY if asked_plugin else PLUGIN
    paths = read(network, nodes, expected_default="plugin" if asked_plugin else "body")
    with pytest.raises(BackendError) as caught:
        require_asked(trt or tensorrt(), paths, nodes, registered)
    assert caught.value.exit_code == 3
    assert "NDChannelDeconv 'norm'" in caught.value.problem
    return caught.value.problem, caught.value.remedy


def test_a_plugin_that_nobody_registered_is_missed_by_name():
    problem, remedy = reason(True, [node()], [PluginId("Other", "1", "")])
    assert "no plugin of that name is registered" in problem
    assert "--plugin" in remedy


def test_a_node_that_asks_for_another_plugin_says_which_are_there():
    problem, _ = reason(True, [node(version="2")], [OURS])
    assert "asks for nd_deploy::NDChannelDeconv 2" in problem
    assert "registered is nd_deploy::NDChannelDeconv 1" in problem


def test_a_node_that_does_not_say_where_its_plugin_is_is_told_to():
    problem, remedy = reason(True, [node(namespace=None)], [OURS])
    assert "does not say where its plugin is" in problem
    assert "convert" in remedy


def test_a_parser_that_always_takes_the_body_is_told_and_its_target_named():
    old = tensorrt(override=False, squeeze=False)
    problem, remedy = reason(True, [node()], [OURS], old)
    assert "takes the function body whatever is registered" in problem
    assert "--target 'tensorrt<=10.6'" in remedy


def test_a_plugin_in_place_of_the_body_is_refused_too():
    problem, remedy = reason(False, [node()], [OURS])
    assert "nd_deploy::NDChannelDeconv 1 is registered" in problem
    assert "--expect plugin" in remedy
