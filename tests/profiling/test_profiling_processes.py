"""Contestants in processes of their own: what crosses, what crashes, and what is left behind."""

import contextlib
import dataclasses
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import parser
from onnx.reference import ReferenceEvaluator
from torch import nn

from nd_deploy.errors import BackendError, GraphError, InputError
from nd_deploy.origin import GivenNetwork, Origin
from nd_deploy.profiling.contestant import Contestant
from nd_deploy.profiling.processes import in_child, why_apart, worker
from nd_deploy.profiling.processes.channel import Channel, Message
from nd_deploy.profiling.processes.child import serve
from nd_deploy.profiling.processes.jobs import job_fields, job_from_fields
from nd_deploy.profiling.processes.worker import Worker
from nd_deploy.profiling.subjects.base import Job
from nd_deploy.profiling.subjects.opening import open_subject
from nd_deploy.runtime.options import RunOptions

PATIENCE_S = 60
MODEL = """<ir_version: 10, opset_import: ["": 21]>
g (float[N, 3] x, float[N, 3] y) => (float[N, 3] total, float[N, 3] product) {
    total = Add(x, y)
    product = Mul(x, y)
}
"""
ORIGIN = Origin(Path("bundle"), "vgg16", {"width": 8}, Path("net.pth.tar"), None)


def array(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def job_of(runtime, tf32=False):
    return Job(Contestant("m", runtime, 1), None, None, RunOptions(tf32=tf32), {})


class TestWhoCannotShare:
    @pytest.mark.parametrize(
        "runtimes",
        [
            ["torch", "ort-cpu"],
            ["torch", "ort-cpu", "tensorrt"],
            ["torch-cuda", "torch", "ort-cpu", "torch-cuda"],
            ["ort-cuda", "ort-tensorrt", "ort-cpu"],
            [],
        ],
    )
    def test_one_stack_for_the_gpu_shares_with_all_that_runs_on_the_processor(self, runtimes):
        assert why_apart([job_of(runtime) for runtime in runtimes]) is None

    @pytest.mark.parametrize(
        ("runtimes", "stacks"),
        [
            (["ort-cuda", "torch-cuda"], "ONNX Runtime and PyTorch"),
            (["ort-cpu", "tensorrt", "tensorrt-rtx"], "TensorRT and TensorRT-RTX"),
            (["ort-tensorrt", "tensorrt"], "ONNX Runtime and TensorRT"),
        ],
    )
    def test_two_stacks_do_not_and_the_reason_names_them(self, runtimes, stacks):
        assert why_apart([job_of(runtime) for runtime in runtimes]).startswith(f"{stacks} bring")

    def test_onnx_runtime_settles_tf32_once_a_process(self):
        jobs = [job_of("ort-cuda"), job_of("ort-tensorrt", tf32=True)]
        assert "TF32" in why_apart(jobs)
        assert why_apart([job_of("tensorrt"), job_of("tensorrt", tf32=True)]) is None


@pytest.fixture
def onnx_job(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(parser.parse_model(MODEL), path)
    feeds = {"x": array(2, 3), "y": array(2, 3, seed=1)}
    options = RunOptions(options={"threads": "1"})
    return Job(Contestant("affine", "ort-cpu", 2), path, None, options, feeds)


def descriptors():
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


@pytest.fixture
def nothing_left(tmp_path, monkeypatch):
    """Every process that was started, of which none may be there in the end, nor a descriptor."""
    started = []

    class Popen(subprocess.Popen):
        def __init__(self, *arguments, **settings):
            super().__init__(*arguments, **settings)
            started.append(self)

    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(worker.subprocess, "Popen", Popen)
    before = descriptors()
    yield started
    assert descriptors() == before
    assert list(folder.iterdir()) == []
    for process in started:
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 0)


class TestChild:
    def test_it_gives_what_the_subject_gives_and_times_by_its_own_clock(
        self, onnx_job, nothing_left
    ):
        with contextlib.closing(in_child(onnx_job)) as child:
            (process,) = nothing_left
            expected = ReferenceEvaluator(str(onnx_job.model)).run(None, dict(onnx_job.feeds))
            outputs = child.outputs()
            assert list(outputs) == ["total", "product"]
            for got, wanted in zip(outputs.values(), expected, strict=True):
                np.testing.assert_array_equal(got, wanted)
            assert child.receipt == open_subject(onnx_job).receipt
            # The terminal's Ctrl-C is not for it.
            process.send_signal(signal.SIGINT)
            latency = child.measure(5)["latency"]
            assert latency.shape == (5,)
            assert latency.dtype == np.float64
            assert (latency > 0).all()
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
            resident = pages * os.sysconf("SC_PAGE_SIZE")
            assert child.memory["process"] == pytest.approx(resident, rel=0.05)
            assert child.memory["process"] > child.memory["host"] >= 0

    def test_what_the_user_did_wrong_is_told_as_if_it_had_happened_here(
        self, onnx_job, nothing_left
    ):
        onnx_job.model.write_text("no model at all")
        for wrong in (
            dataclasses.replace(onnx_job, model=onnx_job.model.with_name("gone.onnx")),
            onnx_job,
        ):
            with pytest.raises((InputError, GraphError)) as here:
                open_subject(wrong)
            with pytest.raises(InputError) as there:
                in_child(wrong)
            assert type(there.value) is type(here.value)
            assert there.value.args == here.value.args

    def test_one_that_is_killed_is_told_by_the_contestants_name(self, onnx_job, nothing_left):
        with contextlib.closing(in_child(onnx_job)) as child:
            nothing_left[0].kill()
            with pytest.raises(BackendError, match="of affine, ort-cpu, batch 2 was killed by SIG"):
                child.measure(3)

    def test_a_network_of_this_process_is_refused_before_anything_starts(self, nothing_left):
        network = GivenNetwork(nn.Linear(3, 4))
        job = Job(Contestant("net", "torch", 1), None, network, RunOptions(), {"x": array(1, 3)})
        with pytest.raises(InputError, match=r"net, torch, batch 1 needs a process of its own"):
            in_child(job)
        assert nothing_left == []


class TestWorker:
    @pytest.fixture
    def other_code(self, tmp_path, monkeypatch):
        """Run something else in the worker's place."""

        def code(text):
            (tmp_path / "instead.py").write_text(text)
            monkeypatch.setenv("PYTHONPATH", str(tmp_path))
            monkeypatch.setattr(worker, "_MODULE", "instead")

        return code

    @pytest.mark.parametrize(
        ("number", "remedy"), [("SIGSEGV", "nd-deploy doctor"), ("SIGKILL", "memory")]
    )
    def test_a_crash_is_told_with_its_signal_and_last_words(
        self, other_code, nothing_left, number, remedy
    ):
        other_code(
            "import os, signal\n"
            "os.write(2, b'first\\n' * 20 + b'libbroken says goodbye\\n')\n"
            f"os.kill(os.getpid(), signal.{number})\n"
        )
        broken = Worker("m, tensorrt, batch 1")
        with pytest.raises(BackendError, match=f"of m, tensorrt, batch 1 .* {number}") as caught:
            broken.ask("outputs")
        broken.end()
        assert caught.value.problem.endswith("  first\n  libbroken says goodbye")
        assert caught.value.problem.count("first") == 7
        assert remedy in caught.value.remedy

    def test_a_fault_of_our_own_shows_its_traceback(self, other_code, nothing_left):
        other_code("raise ZeroDivisionError('of our own')")
        broken = Worker("m")
        with pytest.raises(RuntimeError, match=r"exit code 1:\n[^$]*ZeroDivisionError: of our own"):
            broken.ask("outputs")
        broken.end()

    def test_one_whose_answer_nobody_waited_for_is_ended_at_once(
        self, other_code, nothing_left, monkeypatch
    ):
        other_code("import signal; signal.pause()")
        busy = Worker("m")

        def interrupted(channel):
            raise KeyboardInterrupt

        monkeypatch.setattr(Channel, "receive", interrupted)
        assert busy.listens
        with pytest.raises(KeyboardInterrupt):
            busy.ask("measure")
        assert not busy.listens
        busy.end()
        assert nothing_left[0].returncode == -signal.SIGKILL

    def test_it_does_not_outlive_the_process_that_started_it(self, tmp_path):
        program = (
            "import sys\n"
            "from nd_deploy.profiling.processes.worker import Worker\n"
            "worker = Worker('m')\n"
            "print(worker._process.pid, flush=True)\n"
            "sys.stdin.read()\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        ) as parent:
            child = os.pidfd_open(int(parent.stdout.readline()))
            parent.kill()
        try:
            assert select.select([child], [], [], PATIENCE_S)[0] == [child]
        finally:
            os.close(child)


class TestChannel:
    @pytest.fixture
    def ends(self):
        one, other = map(Channel, socket.socketpair())
        yield one, other
        one.close()
        other.close()

    @pytest.mark.parametrize(
        "sent",
        [
            array(2, 3),
            array(4, 5).T,
            np.float64(3.5),
            np.empty((0, 3), np.int8),
            np.array([True, False]),
            np.arange(3, dtype=">i8"),
            array(3).astype(np.float16),
        ],
    )
    def test_arrays_arrive_as_they_were_sent(self, ends, sent):
        ends[0].send(Message({"a": 1}, {"x": sent, "after": array(2)}))
        fields, arrays = ends[1].receive()
        assert fields == {"a": 1}
        assert arrays["x"].shape == np.shape(sent)
        assert arrays["x"].dtype == np.asarray(sent).dtype.newbyteorder("=")
        np.testing.assert_array_equal(arrays["x"], sent)
        np.testing.assert_array_equal(arrays["after"], array(2))

    def test_bfloat16_arrives_as_such(self, ends):
        ml_dtypes = pytest.importorskip("ml_dtypes")
        sent = array(5).astype(ml_dtypes.bfloat16)
        ends[0].send(Message({}, {"x": sent}))
        got = ends[1].receive().arrays["x"]
        assert got.dtype == ml_dtypes.bfloat16
        np.testing.assert_array_equal(got.view(np.uint16), sent.view(np.uint16))

    def test_an_end_within_an_array_is_an_end(self):
        ours, theirs = socket.socketpair()
        with contextlib.closing(Channel(theirs)) as channel:
            with ours:
                ours.sendall(b'{"fields": {}, "arrays": [["x", "float32", [100]]]}\nshort')
            assert channel.receive() is None


class TestJobs:
    def test_a_job_is_the_same_on_the_other_side(self):
        options = RunOptions(
            options={"device_id": "1"},
            plugins=(Path("a.so"), Path("b.so")),
            precision="float16",
            tf32=True,
            cuda_graph=True,
            engine=Path("engine"),
            trust_unrecorded=True,
            batch="1:8:32",
            shapes=("x=1x3",),
        )
        contestant = Contestant("m", "tensorrt", 8, cuda_graph=True)
        for job in (
            Job(contestant, Path("m.onnx"), None, options, {"x": array(2)}),
            Job(Contestant("m", "torch-cuda", 8), None, ORIGIN, RunOptions(), {}),
        ):
            assert job_from_fields(job_fields(job), job.feeds) == job

    def test_a_network_is_loaded_where_it_runs(self, monkeypatch):
        linear = nn.Linear(3, 4)
        loaded = []
        monkeypatch.setattr(Origin, "load", lambda origin: loaded.append(origin) or linear)
        x = array(5, 3)
        job = Job(Contestant("net", "torch", 5), None, ORIGIN, RunOptions(), {"input": x})
        ours, theirs = map(Channel, socket.socketpair())
        serving = threading.Thread(target=serve, args=(theirs,))
        serving.start()
        place = {"folder": str(Path.cwd()), "import_paths": sys.path}
        try:
            ours.send(Message({"question": "open", "job": job_fields(job), **place}, job.feeds))
            assert ours.receive().fields["result"]["runtime"] == "torch"
            ours.send(Message({"question": "outputs"}))
            outputs = ours.receive().arrays
        finally:
            ours.close()
            serving.join()
            theirs.close()
        assert loaded == [ORIGIN]
        with torch.inference_mode():
            np.testing.assert_array_equal(outputs["output"], linear(torch.tensor(x)).numpy())
