import os

import pytest

from nd_deploy.errors import BackendError
from nd_deploy.runtime.ort import tf32


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch):
    monkeypatch.setenv(tf32.VARIABLE, "")
    monkeypatch.setattr(tf32, "_of_tensorrt", None)


def test_tensorrt_is_told_by_a_variable():
    tf32.settle(wanted=False, tensorrt=True)
    assert os.environ[tf32.VARIABLE] == "0"


@pytest.mark.parametrize("wanted", [True, False])
def test_cuda_has_an_option_and_leaves_the_variable_alone(wanted):
    tf32.settle(wanted, tensorrt=False)
    assert os.environ[tf32.VARIABLE] == ""


@pytest.mark.parametrize("first", [True, False])
def test_the_first_tensorrt_session_decides_for_the_process(first):
    tf32.settle(first, tensorrt=True)
    tf32.settle(first, tensorrt=True)
    with pytest.raises(BackendError, match="the provider decides it once a process"):
        tf32.settle(not first, tensorrt=True)


@pytest.mark.parametrize("tensorrt", [True, False])
@pytest.mark.parametrize("forced", ["0", "1"])
def test_a_variable_that_says_otherwise_is_an_error(monkeypatch, forced, tensorrt):
    monkeypatch.setenv(tf32.VARIABLE, forced)
    tf32.settle(forced == "1", tensorrt)
    with pytest.raises(BackendError, match=f"{tf32.VARIABLE}={forced}"):
        tf32.settle(forced == "0", tensorrt=False)


def test_tf32_for_cuda_after_a_tensorrt_session_without_it_is_an_error():
    tf32.settle(wanted=False, tensorrt=True)
    with pytest.raises(BackendError, match="is to run with TF32 on"):
        tf32.settle(wanted=True, tensorrt=False)
