"""Models on the processor, against arithmetic of numpy and ONNX's own reference."""

import contextlib
import gc
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import parser
from onnx.reference import ReferenceEvaluator
from torch import nn

from nd_deploy.errors import BackendError, InputError
from nd_deploy.profiling.contestant import ON_GPU, Contestant
from nd_deploy.profiling.subjects.base import Job
from nd_deploy.profiling.subjects.host import HostSubject
from nd_deploy.profiling.subjects.opening import open_subject
from nd_deploy.runtime.base import Receipt
from nd_deploy.runtime.options import RunOptions

TWO_OUTPUTS = """<ir_version: 10, opset_import: ["": 21]>
affine (float[N, 3] x, float[N, 3] y) => (float[N, 3] total, float[N, 3] product) {
    total = Add(x, y)
    product = Mul(x, y)
}
"""
RECEIPT = Receipt("null", "1.0", ("CPU",), ("CPU",))


def array(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def ticking(*steps):
    """A clock that is called twice an iteration, and goes on by a step in between."""
    now, times = 0, []
    for step in steps:
        times += [now, now + step]
        now += step + 1000
    return iter(times).__next__


@pytest.fixture
def onnx_job(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(parser.parse_model(TWO_OUTPUTS), path)

    def job(feeds=None, model=path, **options):
        given = {"x": array(2, 3), "y": array(2, 3, seed=1)} if feeds is None else feeds
        contestant = Contestant("affine", "ort-cpu", 2)
        return Job(contestant, model, None, RunOptions(options=options), given)

    return job


@dataclass
class Source:
    network: nn.Module

    def load(self):
        return self.network.eval()


def torch_job(network, *arrays, **options):
    feeds = {f"input_{index}": x for index, x in enumerate(arrays)}
    contestant = Contestant("net", "torch", len(arrays[0]))
    return Job(contestant, None, Source(network), RunOptions(options=options), feeds)


class TestMeasuring:
    def test_each_iteration_is_the_time_between_its_two_looks_at_the_clock(self):
        subject = HostSubject(lambda: None, dict, RECEIPT, ticking(5, 1_000, 7_000_000), 0)
        samples = subject.measure(3)
        assert list(samples) == ["latency"]
        assert samples["latency"].dtype == np.float64
        np.testing.assert_allclose(samples["latency"], [5e-9, 1e-6, 7e-3], rtol=1e-12)

    def test_the_model_is_called_once_an_iteration_within_one_context(self):
        calls = []

        @contextlib.contextmanager
        def during():
            calls.append("in")
            yield
            calls.append("out")

        subject = HostSubject(
            lambda: calls.append("call"), dict, RECEIPT, ticking(1, 1), 0, during=during
        )
        subject.measure(2)
        assert calls == ["in", "call", "call", "out"]

    def test_what_a_runtime_raises_is_told_as_its_failure(self):
        def call():
            raise ValueError("no such shape")

        subject = HostSubject(call, dict, RECEIPT, ticking(1), 0)
        for run in (subject.outputs, lambda: subject.measure(1)):
            with pytest.raises(BackendError, match=r"null failed while running .*: no such shape"):
                run()

    def test_ctrl_c_in_a_call_is_passed_on(self):
        def call():
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            HostSubject(call, dict, RECEIPT, ticking(1), 0).measure(1)

    def test_memory_is_the_growth_up_to_the_first_run(self, onnx_job, monkeypatch):
        from nd_deploy.profiling.subjects import host, open_host

        monkeypatch.setattr(open_host, "resident_bytes", lambda: 1_000)
        readings = iter([5_000, 9_000])
        monkeypatch.setattr(host, "resident_bytes", lambda: next(readings))
        subject = open_subject(onnx_job())
        subject.outputs()
        subject.outputs()
        assert subject.memory == {"host": 4_000}

    def test_memory_that_is_held_counts_as_resident(self):
        from nd_deploy.profiling.subjects.host import resident_bytes

        before = resident_bytes()
        held = np.ones(2**23)  # 64 MiB, all of it written to
        grown = resident_bytes() - before
        assert held.nbytes * 0.9 < grown < held.nbytes * 1.5


class TestOnnxRuntime:
    def test_outputs_are_those_of_the_onnx_reference_in_the_models_order(self, onnx_job):
        job = onnx_job()
        outputs = open_subject(job).outputs()
        expected = ReferenceEvaluator(str(job.model)).run(None, dict(job.feeds))
        assert list(outputs) == ["total", "product"]
        for got, wanted in zip(outputs.values(), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)

    def test_what_is_timed_is_the_sessions_run(self, onnx_job, monkeypatch):
        calls = []
        run = onnxruntime.InferenceSession.run

        def recorded(self, names, feeds, options=None):
            calls.append((names, sorted(feeds)))
            return run(self, names, feeds, options)

        monkeypatch.setattr(onnxruntime.InferenceSession, "run", recorded)
        subject = open_subject(onnx_job(), ticking(10, 20, 30))
        np.testing.assert_allclose(subject.measure(3)["latency"], [1e-8, 2e-8, 3e-8])
        assert calls == [(["total", "product"], ["x", "y"])] * 3

    def test_the_receipt_says_what_runs(self, onnx_job):
        receipt = open_subject(onnx_job(threads="1")).receipt
        assert (receipt.runtime, receipt.threads) == ("onnxruntime", 1)
        assert receipt.providers_got == ("CPUExecutionProvider",)

    @pytest.mark.parametrize(
        ("changed", "words"),
        [
            ({"feeds": {"x": array(2, 3)}}, "'y' is missing"),
            ({"feeds": {"x": array(2, 3), "y": array(2, 4)}}, r"shape \(2, 4\)"),
            ({"thread": "2"}, "no option 'thread'"),
        ],
    )
    def test_what_does_not_fit_is_refused_on_opening(self, onnx_job, changed, words):
        with pytest.raises(InputError, match=words):
            open_subject(onnx_job(**changed))

    def test_a_missing_file_is_refused_on_opening(self, onnx_job, tmp_path):
        with pytest.raises(InputError, match=r"gone\.onnx is no file"):
            open_subject(onnx_job(model=tmp_path / "gone.onnx"))

    def test_closing_frees_the_session(self, onnx_job, monkeypatch):
        sessions = []

        class Session(onnxruntime.InferenceSession):
            def __del__(self):
                sessions.append("freed")

        monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
        subject = open_subject(onnx_job())
        subject.outputs()
        subject.close()
        gc.collect()
        assert sessions == ["freed"]


class Recording(nn.Module):
    """Notes how it is run."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append((torch.get_num_threads(), torch.is_inference_mode_enabled(), x.dtype))
        return x


class TestTorch:
    def test_outputs_are_those_of_numpy(self):
        linear = nn.Linear(3, 4)
        x = array(5, 3)
        weight, bias = (p.detach().numpy().astype(np.float64) for p in linear.parameters())
        outputs = open_subject(torch_job(linear, x)).outputs()
        assert list(outputs) == ["output"]
        np.testing.assert_allclose(outputs["output"], x @ weight.T + bias, rtol=1e-5, atol=1e-6)

    def test_inputs_go_to_the_arguments_and_outputs_come_in_the_networks_order(self):
        class Several(nn.Module):
            def forward(self, x, y):
                return x - y, {"b": 2 * x, "a": [3 * y, None]}

        x, y = array(2, 3), array(2, 3, seed=1)
        outputs = open_subject(torch_job(Several(), x, y)).outputs()
        for got, wanted in zip(outputs.values(), (x - y, 2 * x, 3 * y), strict=True):
            np.testing.assert_array_equal(got, wanted)

    def test_it_runs_in_inference_mode_on_the_threads_asked_for_and_gives_them_back(self):
        before = torch.get_num_threads()
        network = Recording()
        subject = open_subject(torch_job(network, array(1, 2), threads=str(before + 1)))
        subject.outputs()
        assert torch.get_num_threads() == before
        subject.measure(2)
        assert torch.get_num_threads() == before
        assert network.seen == [(before + 1, True, torch.float32)] * 3
        assert subject.receipt == Receipt(
            "torch", torch.__version__, ("CPU",), ("CPU",), threads=before + 1, tf32=False
        )

    def test_without_threads_the_receipt_says_what_pytorch_chose(self):
        subject = open_subject(torch_job(Recording(), array(1, 2)))
        assert subject.receipt.threads == torch.get_num_threads()

    def test_floats_are_given_in_float32_and_integers_as_they_are(self):
        network = Recording()
        open_subject(torch_job(network, array(1, 2).astype(np.float16))).outputs()
        open_subject(torch_job(network, np.array([1, 2]))).outputs()
        assert [dtype for _, _, dtype in network.seen] == [torch.float32, torch.int64]

    def test_an_output_is_not_written_over_by_the_next_run(self):
        class Counting(nn.Module):
            def __init__(self):
                super().__init__()
                self.register_buffer("count", torch.zeros(1))

            def forward(self, x):
                self.count += 1
                return self.count

        subject = open_subject(torch_job(Counting(), array(1, 1)))
        outputs = subject.outputs()
        subject.measure(3)
        assert outputs["output"] == [1]

    def test_threads_are_given_back_after_a_failure(self):
        before = torch.get_num_threads()
        subject = open_subject(torch_job(nn.Linear(3, 4), array(5, 7), threads=str(before + 1)))
        with pytest.raises(BackendError, match=r"torch failed .* shapes cannot be multiplied"):
            subject.measure(1)
        assert torch.get_num_threads() == before

    def test_an_option_that_means_nothing_to_pytorch_is_refused(self):
        with pytest.raises(InputError, match="no option 'device_id'"):
            open_subject(torch_job(nn.Linear(3, 4), array(5, 3), device_id="0"))


class TestDispatch:
    def test_an_unknown_runtime_is_refused_with_those_there_are(self, onnx_job):
        job = Job(Contestant("m", "tflite", 1), None, None, RunOptions(), {})
        with pytest.raises(InputError, match="no runtime 'tflite'") as caught:
            open_subject(job)
        assert "ort-cpu, torch" in caught.value.remedy

    @pytest.mark.parametrize("runtime", ON_GPU)
    def test_what_runs_on_a_gpu_is_opened_there_with_the_same_clock(self, runtime, monkeypatch):
        name = "nd_deploy.profiling.subjects.device_opening"
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(open_device=lambda *a: a))
        job = Job(Contestant("m", runtime, 1), None, None, RunOptions(), {})
        clock = ticking(1)
        assert open_subject(job, clock) == (job, clock)
