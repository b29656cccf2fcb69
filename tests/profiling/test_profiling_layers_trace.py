"""The trace of ONNX Runtime, with exact numbers."""

import json

import pytest

from nd_deploy.errors import BackendError
from nd_deploy.profiling.layers.ort_trace import node_times

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def event(kind, name, start, duration, **details):
    return {"cat": kind, "name": name, "ts": start, "dur": duration, "args": details}


def node(name, start, duration, op="Conv", provider=CPU):
    details = {"op_name": op, "provider": provider, "node_index": name}
    return event("Node", f"{name}_kernel_time", start, duration, **details)


def ran(start=0):
    return event("Session", "model_run", start, 10_000)


@pytest.fixture
def times(tmp_path):
    """Seconds by the node's name of a trace that holds these events."""

    def read(*events, warmup=0, runs=1):
        path = tmp_path / "trace.json"
        path.write_text(json.dumps(events))
        return {node.name: seconds for node, seconds in node_times(path, warmup, runs).items()}

    return read


def test_a_node_s_time_is_the_median_of_the_runs_that_count(times):
    runs = [event for d in (900, 30, 10, 20) for event in (node("a", 0, d), ran())]
    assert times(*runs, warmup=1, runs=3) == {"a": pytest.approx(20e-6)}


def test_what_is_no_kernel_time_of_a_node_is_passed_over(times):
    others = (
        event("Session", "session_initialization", 0, 99),
        event("Node", "a_fence_before", 0, 5, op_name="Conv", provider=CPU),
    )
    assert times(*others, node("a", 1, 7), ran()) == {"a": pytest.approx(7e-6)}


def test_a_node_that_runs_twice_in_a_run_has_both_times(times):
    assert times(node("a", 0, 3), node("a", 9, 4), ran()) == {"a": pytest.approx(7e-6)}


def test_a_loop_stands_for_the_nodes_inside_it_and_counts_once(times):
    inside = (node("product", 12, 3), node("sum", 15, 4))
    found = times(node("a", 0, 9), *inside, node("loop", 11, 9, "Loop"), node("b", 20, 2), ran())
    assert found == {n: pytest.approx(t * 1e-6) for n, t in {"a": 9, "loop": 9, "b": 2}.items()}


def test_a_node_too_fast_for_the_clock_is_not_taken_for_a_part_of_the_next(times):
    assert list(times(node("fast", 5, 0), node("b", 5, 3), ran())) == ["fast", "b"]


def test_a_branch_that_is_taken_in_few_runs_has_a_median_of_nothing(times):
    runs = (node("a", 0, 5), ran(), node("a", 0, 5), node("rare", 5, 9), ran(), node("a", 0, 5))
    assert times(*runs, ran(), runs=3)["rare"] == 0


class TestOnAGpu:
    def kernel(self, start, duration):
        return event("Kernel", "sgemm", start, duration, stream="7")

    def test_a_node_s_time_is_that_of_the_kernels_below_it(self, times):
        first = (node("a", 0, 2, provider=CUDA), self.kernel(8, 30), self.kernel(38, 12))
        found = times(*first, node("b", 2, 3, provider=CUDA), self.kernel(50, 5), ran())
        assert found == {"a": pytest.approx(42e-6), "b": pytest.approx(5e-6)}

    def test_a_node_on_the_cpu_beside_it_has_the_host_s_time(self, times):
        kernels = (node("a", 0, 2, provider=CUDA), self.kernel(8, 30))
        assert times(*kernels, node("shape", 2, 6, "Shape"), ran())["shape"] == pytest.approx(6e-6)

    def test_times_of_launches_are_refused_as_times_of_layers(self, times):
        with pytest.raises(BackendError, match="CUDAExecutionProvider") as caught:
            times(node("a", 0, 2, provider=CUDA), ran())
        assert "starting kernels" in caught.value.problem
        assert "--enable_cuda_profiling" in caught.value.remedy

    def test_a_kernel_that_belongs_to_no_node_is_refused(self, times):
        with pytest.raises(BackendError, match="stands under no node"):
            times(self.kernel(0, 3), ran())


class TestUnreadable:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "Expecting value"),
            ('[{"cat": "Node"', "delimiter"),
            ('{"traceEvents": []}', "no list of events"),
            ("[1]", "no list of events"),
            ('[{"cat": "Node"}]', "'name'"),
            ('[{"cat": "Node", "name": "a_kernel_time", "dur": 1, "ts": 0}]', "'args'"),
        ],
    )
    def test_a_file_that_is_no_trace_is_refused(self, tmp_path, text, said):
        path = tmp_path / "trace.json"
        path.write_text(text)
        with pytest.raises(BackendError, match=r"trace\.json") as caught:
            node_times(path, 0, 1)
        assert said in caught.value.problem

    def test_a_missing_file_is_refused(self, tmp_path):
        with pytest.raises(BackendError, match="No such file"):
            node_times(tmp_path / "gone.json", 0, 1)

    @pytest.mark.parametrize("duration", [-1, "nan", "soon"])
    def test_a_time_that_is_none_is_refused(self, times, duration):
        with pytest.raises(BackendError, match="cannot be read"):
            times(node("a", 0, duration), ran())

    def test_other_runs_than_were_made_are_refused(self, times):
        with pytest.raises(BackendError, match="it holds 2 runs of 4"):
            times(node("a", 0, 1), ran(), node("a", 0, 1), ran(), warmup=1, runs=3)

    def test_runs_without_a_node_are_refused(self, times):
        with pytest.raises(BackendError, match="names no node"):
            times(ran())
