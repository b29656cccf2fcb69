from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from nd_deploy.nd.ops import OPS
from nd_deploy.runtime.choose import deployed_model, open_runner
from nd_deploy.targets import find_target, fit


def channel_deconv():
    """A model of one layer that is left to the plugin."""
    op = OPS["NDChannelDeconv"]
    opset = onnx.helper.make_opsetid
    node = onnx.helper.make_node(op.name, ["x", "m", "d"], ["y"], "norm", domain="nd_deploy")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "g",
        [value("x", 1, ["N", 4])],
        [value("y", 1, ["N", 4])],
        [
            numpy_helper.from_array(np.ones(2, np.float32), "m"),
            numpy_helper.from_array(2 * np.eye(2, dtype=np.float32), "d"),
        ],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[opset("", 20), opset("nd_deploy", 1)], ir_version=10
    )
    model.functions.append(op.function(20))
    return model


@pytest.mark.parametrize("target", ["portable", "tensorrt<=10.6", "ort-tensorrt"])
def test_every_runtime_reads_a_bundle_of_every_target(tmp_path, target):
    path = tmp_path / "model.onnx"
    onnx.save(fit(channel_deconv(), find_target(target)), path)
    bundle = SimpleNamespace(model_path=path, manifest=SimpleNamespace(target=target))
    runner = open_runner(deployed_model(bundle, "ort-cpu"), "ort-cpu")
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.testing.assert_allclose(runner.run({"x": x})["y"], 2 * (x - 1))
    assert deployed_model(bundle, "tensorrt") == path
