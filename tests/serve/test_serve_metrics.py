import threading

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from nd_deploy.serve.batching.observer import CANCELLED, Execution
from nd_deploy.serve.metrics.exposition import Account, Collector, registry_of
from nd_deploy.serve.metrics.statistics import statistics_of
from nd_deploy.serve.metrics.tally import Tally


@pytest.fixture
def tally():
    """Five requests: three in one batch, one alone, one cancelled, and two refused."""
    found = Tally(now=lambda: 1234.5678)
    found.executed(Execution(6, (0.1, 0.2, 0.3), 0.01, 1.0, 0.02))
    found.executed(Execution(1, (0.4,), 0.001, 0.5, 0.002))
    for seconds in (1.1, 1.2, 1.3, 0.9):
        found.succeed(seconds)
    found.fail(CANCELLED, 0.2)
    found.fail("queue full", 0.0)
    found.fail("bad input", 0.1)
    found.waiting(3)
    found.waiting(-1)
    return found


def exposed(tally, refusals=None):
    account = Account("m", "2", tally, 1, 3, ("CPUExecutionProvider",), True)
    text = generate_latest(registry_of(Collector(lambda: [account], refusals or {}))).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


MODEL = (("model", "m"), ("version", "2"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nv_inference_request_success", 4),
        ("nv_inference_count", 7),
        ("nv_inference_exec_count", 2),
        ("nv_inference_pending_request_count", 2),
        ("nv_inference_request_duration_us", (1.1 + 1.2 + 1.3 + 0.9 + 0.3) * 1e6),
        ("nv_inference_queue_duration_us", 1.0 * 1e6),
        ("nv_inference_compute_infer_duration_us", (3 * 1.0 + 0.5) * 1e6),
        ("nv_inference_compute_input_duration_us", (3 * 0.01 + 0.001) * 1e6),
        ("nv_inference_compute_output_duration_us", (3 * 0.02 + 0.002) * 1e6),
        ("nd_model_ready", 1),
        ("nd_batch_size_count", 2),
        ("nd_batch_size_sum", 7),
        ("nd_request_duration_seconds_count", 4),
    ],
)
def test_metrics_have_tritons_names_and_the_sums_by_hand(tally, name, value):
    assert exposed(tally)[name, MODEL] == pytest.approx(value)


def test_failures_are_told_by_tritons_reasons(tally):
    found = exposed(tally)
    reasons = {
        dict(labels)["reason"]: value
        for (name, labels), value in found.items()
        if name == "nv_inference_request_failure"
    }
    assert reasons == {"CANCELED": 1, "REJECTED": 1, "OTHER": 1}


def test_refusals_reloads_and_providers_are_told(tally):
    found = exposed(tally, {"headers size": 2})
    assert found["nd_refused_requests_total", (("reason", "headers size"),)] == 2
    assert found["nd_model_reloads_total", (("model", "m"), ("result", "refused"))] == 3
    assert (
        found["nd_model_info", (*MODEL[:1], ("providers", "CPUExecutionProvider"), MODEL[1])] == 1
    )
    assert found["process_resident_memory_bytes", ()] > 1e6


def test_histograms_add_up_to_the_values_under_each_bound(tally):
    found = exposed(tally)
    sizes = {
        dict(labels)["le"]: value
        for (name, labels), value in found.items()
        if name == "nd_batch_size_bucket"
    }
    assert (sizes["1"], sizes["4"], sizes["8"], sizes["+Inf"]) == (1, 1, 2, 2)


def test_statistics_are_in_the_words_of_tritons_extension(tally):
    found = statistics_of("m", "2", tally)
    assert (found["name"], found["version"]) == ("m", "2")
    assert found["last_inference"] == 1234567
    assert (found["inference_count"], found["execution_count"]) == (7, 2)
    stats = found["inference_stats"]
    assert stats["success"] == {"count": 4, "ns": pytest.approx(4.5e9)}
    assert stats["fail"]["count"] == 3
    assert stats["queue"] == {"count": 4, "ns": pytest.approx(1e9)}
    assert stats["compute_infer"] == {"count": 4, "ns": pytest.approx(3.5e9)}
    assert [batch["batch_size"] for batch in found["batch_stats"]] == [1, 6]
    assert found["batch_stats"][1]["compute_infer"] == {"count": 1, "ns": 10**9}


def test_a_model_that_never_ran_has_statistics_of_zeros():
    found = statistics_of("m", "1", Tally())
    assert found["last_inference"] == 0
    assert found["batch_stats"] == []


def test_requests_that_wait_are_counted_by_several_threads_at_once():
    tally = Tally()

    def change():
        for _ in range(2000):
            tally.waiting(2)
            tally.waiting(-1)

    threads = [threading.Thread(target=change) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tally.pending == 8000
