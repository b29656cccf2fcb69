"""The models that the suite runs everywhere: on the CPU they have to be right already."""

import numpy as np
import onnx
import pytest
from gpu.models import CONV_FORM, KINDS, NODE_FORM, chain, deployed, inputs, make
from gpu.part_engines import DTYPES, LIMITS, why_not
from gpu.parts import Settings
from gpu.runtimes import options, unavailable

from nd_deploy.runtime.onnxruntime import OnnxRuntimeRunner
from nd_deploy.runtime.reference import ReferenceRunner


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_runs_and_has_the_nodes_it_says(name):
    kind, feeds = KINDS[name], inputs(3)
    truth = ReferenceRunner(make(kind)).run(feeds)["y"]
    for dtype in DTYPES[:2]:
        model = deployed(kind, dtype)
        left = [node for node in model.graph.node if node.domain == "nd_deploy"]
        assert len(left) == kind.plugins
        y = OnnxRuntimeRunner(model).run(feeds)["y"]
        assert np.abs(y - truth).max() / np.abs(truth).max() < LIMITS[dtype]


@pytest.mark.parametrize(("form", "op"), [(CONV_FORM, "Conv"), (NODE_FORM, "NDChannelDeconv")])
def test_a_chain_is_equal_whitenings_that_keep_their_scale(form, op):
    model = chain(form, 128, 5, 8, 64)
    assert [node.op_type for node in model.graph.node] == [op] * 8
    onnx.checker.check_model(model, full_check=True)
    y = OnnxRuntimeRunner(model).run(inputs(2, (128, 5, 5)))["y"]
    assert 0.1 < y.std() < 100


def test_what_a_runtime_cannot_do_is_not_tried_and_says_why():
    with_library = Settings(library="a.so")
    assert "no TensorRT plugins" in why_not("ort-cuda", "float32", True, with_library)
    assert "TensorRT itself" in why_not("ort-tensorrt", "bfloat16", False, with_library)
    assert "see the part 'plugin'" in why_not("tensorrt", "float32", True, Settings())
    assert "see the part 'plugin'" in why_not("ort-tensorrt", "float32", True, with_library)


def test_each_runtime_is_given_its_own_build_of_the_library():
    settings = Settings(library="a.so", self_registering="b.so")
    assert options("ort-cuda", False, settings, 4).batch is None
    assert [str(path) for path in options("tensorrt", True, settings, 4).plugins] == ["a.so"]
    assert [str(path) for path in options("ort-tensorrt", True, settings, 4).plugins] == ["b.so"]
    assert options("tensorrt", False, settings, 4).plugins == ()
    assert options("tensorrt", False, settings, 4).batch == "1:4:4"


def test_a_runtime_that_is_not_here_says_what_installs_it():
    assert unavailable("ort-cpu") == ""
    for runtime in ("tensorrt", "ort-cuda", "ort-tensorrt"):
        reason = unavailable(runtime)
        assert reason == "" or "pip install" in reason or "driver" in reason
