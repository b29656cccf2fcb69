"""PyTorch whose GPU is the processor, on a simulated clock."""

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from simulated_gpu import COMPUTE, LAUNCH, SimulatedCuda

from nd_deploy import compat
from nd_deploy.compat.cuda_torch import products_in_tf32
from nd_deploy.errors import BackendError, InputError
from nd_deploy.profiling.contestant import Contestant
from nd_deploy.profiling.subjects import device_torch
from nd_deploy.profiling.subjects.base import Job
from nd_deploy.profiling.subjects.device_opening import open_device
from nd_deploy.runtime.options import RunOptions

FEEDS = {"b": np.arange(6.0).reshape(2, 3), "a": np.array([1, 2])}


class TorchOnTheCpu:
    """The module, as far as a run uses it; the rest is PyTorch's own.

    Attributes:
        state: what holds now: the stream, and whether a graph is being captured.
    """

    version = SimpleNamespace(cuda="13.0")

    def __init__(self):
        self.cuda = self
        self.state = SimpleNamespace(stream=None, capturing=False)
        self.emptied = 0

    def __getattr__(self, name):
        return getattr(torch, name)

    def empty(self, shape, dtype, pin_memory):
        assert pin_memory, "what is not pinned is not copied meanwhile"
        return torch.empty(shape, dtype=dtype)

    def empty_like(self, tensor, device, pin_memory=False):
        assert pin_memory == (device == "cpu")
        return torch.empty_like(tensor)

    def device(self, index):
        return contextlib.nullcontext()

    def ExternalStream(self, number):  # noqa: N802 - PyTorch's own names
        return number

    @contextlib.contextmanager
    def stream(self, stream):
        self.state.stream, before = stream, self.state.stream
        yield
        self.state.stream = before

    def CUDAGraph(self):  # noqa: N802
        return SimpleNamespace(replay=None)

    @contextlib.contextmanager
    def graph(self, graph, stream, capture_error_mode):
        assert stream == self.state.stream
        assert capture_error_mode == "thread_local"
        self.state.capturing = True
        yield
        self.state.capturing = False
        graph.replay = self.replayed

    def empty_cache(self):
        self.emptied += 1


class Network(torch.nn.Module):
    """Scales b by 2 and counts a up, as long as nobody captures."""

    def __init__(self, torch_module, cuda):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
        self.torch_module, self.gpu = torch_module, cuda
        self.calls = []

    def __deepcopy__(self, memo):
        twin = Network(self.torch_module, self.gpu)
        twin.scale = torch.nn.Parameter(self.scale.float())
        twin.calls = self.calls
        return twin

    def to(self, device):
        assert device == "cuda"
        assert self.scale.dtype == torch.float32
        return self

    def forward(self, b, a):
        state = self.torch_module.state
        precision = torch.backends.cuda.matmul.fp32_precision
        self.calls.append((state.capturing, torch.is_inference_mode_enabled(), precision))
        if not state.capturing:
            self.gpu.enqueue(state.stream, lambda: None)
        return {"scaled": b * self.scale, "counted": [a + 1]}


@pytest.fixture
def cuda(monkeypatch):
    cuda = SimulatedCuda(name="NVIDIA H200")
    monkeypatch.setattr(device_torch, "TorchCuda", lambda module: cuda)
    return cuda


@pytest.fixture
def on_cpu(monkeypatch, cuda):
    module = TorchOnTheCpu()
    module.replayed = lambda: cuda.enqueue(module.state.stream, lambda: None)
    monkeypatch.setattr(compat, "torch", lambda: module)
    return module


@pytest.fixture
def network(on_cpu, cuda):
    return Network(on_cpu, cuda)


@pytest.fixture
def job(network):
    def make(**options):
        contestant = Contestant("net", "torch-cuda", 2)
        source = SimpleNamespace(load=lambda: network)
        return Job(contestant, None, source, RunOptions(**options), FEEDS)

    return make


@pytest.mark.parametrize("graph", [False, True])
def test_it_is_timed_by_events_and_by_the_host(job, cuda, graph):
    subject = open_device(job(cuda_graph=graph), cuda.host_time)
    outputs = subject.outputs()
    np.testing.assert_array_equal(outputs["output_0"], 2 * FEEDS["b"])
    np.testing.assert_array_equal(outputs["output_1"], [2, 3])
    samples = subject.measure(7)
    for metric, nanoseconds in {
        "latency": LAUNCH + COMPUTE,
        "compute": COMPUTE,
        "enqueue": LAUNCH,
    }.items():
        np.testing.assert_allclose(samples[metric], np.full(7, nanoseconds / 1e9), rtol=1e-12)
    assert samples.keys() == {"latency", "compute", "enqueue", "h2d", "d2h"}


def test_every_run_calls_the_network_in_inference_mode(job, cuda, network):
    open_device(job(), cuda.host_time).measure(5)
    assert [(capturing, inference) for capturing, inference, _ in network.calls] == [
        (False, True)
    ] * 11


def test_a_graph_is_captured_after_some_runs_and_replayed_ever_after(job, cuda, network):
    subject = open_device(job(cuda_graph=True), cuda.host_time)
    assert [capturing for capturing, *_ in network.calls] == [False, False, False, True]
    subject.measure(5)
    assert len(network.calls) == 4
    assert subject.receipt.options["cuda_graph"] == "True"


@pytest.mark.parametrize(("allowed", "precision"), [(False, "ieee"), (True, "tf32")])
def test_tf32_is_as_asked_for_while_it_runs_and_as_before_afterwards(
    job, cuda, network, allowed, precision
):
    before = torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision
    subject = open_device(job(tf32=allowed), cuda.host_time)
    subject.outputs()
    assert network.calls[-1][-1] == precision
    after = torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision
    assert after == before
    assert subject.receipt.tf32 is allowed


def test_an_older_pytorch_has_a_switch_for_tf32():
    matmul, cudnn = SimpleNamespace(allow_tf32=True), SimpleNamespace(allow_tf32=True)
    cudnn.conv = SimpleNamespace()
    older = SimpleNamespace(
        backends=SimpleNamespace(cuda=SimpleNamespace(matmul=matmul), cudnn=cudnn)
    )
    with products_in_tf32(older, False):
        assert (matmul.allow_tf32, cudnn.allow_tf32) == (False, False)
    assert (matmul.allow_tf32, cudnn.allow_tf32) == (True, True)


def test_the_users_network_stays_as_it_is(job, cuda, network):
    open_device(job(), cuda.host_time).outputs()
    assert network.scale.dtype == torch.float64


def test_the_receipt_names_the_gpu(job, cuda):
    receipt = open_device(job(), cuda.host_time).receipt
    assert (receipt.runtime, receipt.providers_got) == ("torch", ("CUDA",))
    assert receipt.version == torch.__version__
    assert receipt.options == {
        "device": "NVIDIA H200",
        "compute_capability": "9.0",
        "cuda": "13.0",
        "cuda_graph": "False",
    }


def test_closing_gives_all_back(job, cuda, on_cpu):
    subject = open_device(job(cuda_graph=True), cuda.host_time)
    subject.outputs()
    subject.measure(3)
    subject.close()
    assert not cuda.leaks
    assert on_cpu.emptied == 1


@pytest.mark.parametrize("graph", [False, True])
def test_a_network_that_fails_says_so(job, cuda, network, monkeypatch, graph):
    def fail(b, a):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(Network, "forward", staticmethod(fail))
    with pytest.raises(BackendError, match="failed to run the network on the GPU: CUDA out of"):
        open_device(job(cuda_graph=graph), cuda.host_time).outputs()


def test_options_of_other_runtimes_are_refused(job, cuda):
    with pytest.raises(InputError, match="no option 'workspace'"):
        open_device(job(options={"workspace": "1GiB"}), cuda.host_time)


def test_tf32_is_off_where_it_is_said_to_be_and_as_before_afterwards():
    parts = torch.backends.cuda.matmul, torch.backends.cudnn.conv

    def states():
        return [part.fp32_precision for part in parts]

    before = states()
    with products_in_tf32(torch, False):
        assert states() == ["ieee", "ieee"]
        with products_in_tf32(torch, True):
            assert states() == ["tf32", "tf32"]
        assert states() == ["ieee", "ieee"]
    assert states() == before
