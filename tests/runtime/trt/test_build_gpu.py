"""Engines of TensorRT itself, which builds for the GPU that is there."""

import pytest
from trt_models import built, nd_model

from nd_deploy.compat.trt import installed
from nd_deploy.precision import cast
from nd_deploy.runtime.tensorrt.building.inspector import ENGINE
from nd_deploy.runtime.tensorrt.device import NoDevice, find_device

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.tensorrt,
    pytest.mark.skipif("tensorrt" not in installed(), reason="tensorrt is not installed"),
]


@pytest.fixture(scope="module")
def device():
    found = find_device()
    if isinstance(found, NoDevice):
        pytest.skip(f"no GPU can be used: {found.reason}")
    return found


@pytest.mark.parametrize("plugins", [False, True], ids=["body", "plugin"])
def test_the_types_of_an_engine_are_told_by_the_engine_itself(device, tmp_path, plugins):
    options = {"library": "tensorrt", "precision": "float16", "python_plugins": plugins}
    receipt = built(cast(nd_model(), "float16"), tmp_path, **options).receipt
    assert receipt.layers_from == ENGINE
    assert "float16" in receipt.precisions()
    assert receipt.device == device.name
    assert receipt.compute_capability == device.compute_capability
    assert receipt.tf32 is False
    assert {path.path for path in receipt.paths} == {"plugin" if plugins else "body"}
