import json

import pytest

from nd_deploy.errors import BackendError
from nd_deploy.runtime.tensorrt.building.inspector import parse_information, require_types
from nd_deploy.runtime.tensorrt.building.precision import LayerPrecision


def layer(name, description, key="Format/Datatype", kind="CaskConvolution"):
    return {
        "Name": name,
        "LayerType": kind,
        "Inputs": [{"Name": "in", key: "Row major linear FP32"}],
        "Outputs": [{"Name": "out", "Location": "Device", key: description}],
    }


def information(*layers):
    return json.dumps({"Layers": list(layers), "Bindings": ["in", "out"]})


@pytest.mark.parametrize(
    ("description", "precision"),
    [
        ("Row major linear FP32", "float32"),
        ("Float", "float32"),
        ("Channel major FP16 format where channel % 8 == 0", "float16"),
        ("Half", "float16"),
        ("Row major linear BFloat16 format", "bfloat16"),
        ("BF16", "bfloat16"),
        ("Thirty-two wide channel vectorized row major Int8 format", "int8"),
        ("Row major linear FP8 format", "float8"),
    ],
)
def test_a_layer_has_the_type_of_its_output(description, precision):
    assert parse_information(information(layer("a", description))) == [
        LayerPrecision("a", "CaskConvolution", precision)
    ]


def test_the_key_may_be_called_otherwise():
    (found,) = parse_information(information(layer("a", "Half", key="Datatype")))
    assert found.precision == "float16"


def test_layers_without_floats_and_names_without_details_are_left_out():
    assert parse_information(information(layer("a", "Row major linear Int32"), "b")) == []
    assert parse_information("no JSON") == []
    assert parse_information("[]") == []


def test_an_engine_narrower_than_its_network_is_refused_by_layer():
    network = [LayerPrecision("a", "CONVOLUTION", "float32")]
    engine = [LayerPrecision("a + b", "Cask", "float32"), LayerPrecision("c", "Cask", "float16")]
    with pytest.raises(BackendError, match="layer 'c' of the engine is float16"):
        require_types(engine, network)


def test_an_engine_wider_than_its_network_passes():
    network = [LayerPrecision("a", "CONVOLUTION", "float16")]
    require_types([LayerPrecision("a", "Cask", "float32")], network)
