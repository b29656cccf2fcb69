"""A server's process as its operator sees it: logs, tokens, counts, and its end."""

import json
import signal
import socket
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc
from malformed_requests import GOOD
from prometheus_client.parser import text_string_to_metric_families
from served_bundle import images, write
from tritonclient.utils import InferenceServerException
from whole_server import (
    PATIENCE,
    ServeProcess,
    ask,
    check_close,
    expected,
    infer_json,
    serving,
    until,
)

INFER = "/v2/models/tiny/infer"
FREE_PORTS = ("--http-port", 0, "--grpc-port", 0)
TOKEN = {"Authorization": "Bearer secret"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write(tmp_path_factory.mktemp("whole") / "tiny")


def call(address, x, headers=None, model="tiny", **more):
    given = tritonclient.grpc.InferInput("image", list(x.shape), "FP32")
    given.set_data_from_numpy(x)
    with tritonclient.grpc.InferenceServerClient(address) as client:
        return client.infer(model, [given], headers=headers, **more).as_numpy("logits")


def test_requests_need_the_token_and_each_is_a_line_of_json(bundle, tmp_path):
    token = tmp_path / "token"
    token.write_text("secret\n")
    x = images(2)
    with ServeProcess(
        bundle, *FREE_PORTS, "--token-file", token, "--access-log", "--log-json"
    ) as process:
        http_address, grpc_address = process.wait_until_ready()
        ids = {}
        for headers in (TOKEN, {}, {"Authorization": "Bearer other"}):
            answer = ask(http_address, "POST", INFER, infer_json(x), headers)
            ids[answer.headers["x-request-id"]] = answer.status
        named = ask(http_address, "POST", INFER, infer_json(x), TOKEN | {"X-Request-Id": "mine"})
        ids["mine"] = named.status
        assert ask(http_address, "GET", "/metrics").status == 401
        # Whoever starts and stops servers asks without one.
        assert ask(http_address, "GET", "/v2/health/ready").status == 200
        check_close(call(grpc_address, x, {"authorization": "Bearer secret"}), expected(bundle, x))
        with pytest.raises(InferenceServerException, match="UNAUTHENTICATED"):
            call(grpc_address, x)
        assert process.end(signal.SIGINT) == 0

    assert sorted(ids.values()) == [200, 200, 401, 401]
    entries = [json.loads(line) for line in process.said["stderr"]]
    assert all(entry["level"] and entry["message"] and entry["time"] for entry in entries)
    logged = {entry["request_id"]: entry["status"] for entry in entries if "status" in entry}
    assert ids.items() <= logged.items()
    assert Counter(entry["path"].rsplit("/", 1)[-1] for entry in entries if "path" in entry) == {
        "infer": 4,
        "metrics": 1,
        "ready": 1,
        "ModelInfer": 2,
    }
    assert "secret" not in process.output


def test_a_second_signal_does_not_wait_for_what_is_under_way(bundle):
    with ServeProcess(bundle, *FREE_PORTS, "--access-log") as process:
        http_address, _ = process.wait_until_ready()
        host, port = http_address.rsplit(":", 1)
        assert ask(http_address, "GET", "/v2").status == 200
        assert process.line("stderr", "GET /v2 200").rstrip().endswith("ms")
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            connection.sendall(GOOD[:-3])
            # What came before has been read when this is answered.
            assert ask(http_address, "GET", "/v2/health/live").status == 200
            process.process.send_signal(signal.SIGTERM)
            process.line("stderr", "another signal ends at once")
            assert process.end(signal.SIGTERM) == -signal.SIGTERM


def test_a_hangup_has_the_bundles_looked_at(tmp_path):
    live = write(tmp_path / "tiny")
    with ServeProcess(live, *FREE_PORTS, "--limit", "reload_interval=0") as process:
        http_address, _ = process.wait_until_ready()
        live.rename(tmp_path / "old")
        write(tmp_path / "new", factor=2.0).rename(live)
        process.process.send_signal(signal.SIGHUP)
        process.line("stderr", "version 2 is served")
        x = images(3)
        answer = ask(http_address, "POST", INFER, infer_json(x)).json
        assert answer["model_version"] == "2"
        found = np.array(answer["outputs"][0]["data"], np.float32).reshape(3, 3)
        check_close(found, expected(live, x))
        assert process.end() == 0


def test_no_folder_of_the_users_is_needed(tmp_path):
    """Nothing is written, so that it runs on a read-only file system, as nobody."""
    nowhere = "/proc/nowhere"
    folders = {"HOME": nowhere, "XDG_CACHE_HOME": nowhere, "ND_DEPLOY_CACHE": nowhere}
    bundle = write(tmp_path / "tiny")
    before = sorted(tmp_path.rglob("*"))
    with ServeProcess(bundle, *FREE_PORTS, **folders) as process:
        http_address, _ = process.wait_until_ready()
        assert ask(http_address, "POST", INFER, infer_json(images(1))).status == 200
        assert process.end() == 0
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path(nowhere).exists()


def metrics(address):
    """All samples, by name and then by labels."""
    text = ask(address, "GET", "/metrics").content.decode()
    samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return samples


def test_metrics_add_up_with_what_clients_sent(bundle):
    sizes = [1, 2, 3, 4]
    with serving({"tiny": bundle, "other": bundle}) as running:
        before = metrics(running.http)
        for size in sizes:
            assert ask(running.http, "POST", INFER, infer_json(images(size))).status == 200
            call(running.grpc, images(size))
        refused = [
            ask(running.http, "POST", INFER, b"{").status,
            ask(running.http, "POST", INFER, infer_json(images(33))).status,
            ask(running.http, "POST", "/v2/models/x/infer", b"{}").status,
            ask(running.http, "GET", "/nowhere").status,
        ]
        for changes in ({"model": "x"}, {"timeout": 1}):
            with pytest.raises(InferenceServerException):
                call(running.grpc, images(1), **changes)
        # All that was refused, by the protocol or by the model: four over HTTP, two over gRPC. Each
        # is counted when its client has been told.
        until(lambda: sum(metrics(running.http)["nd_refused_requests_total"].values()) >= 6)
        after = metrics(running.http)
    assert refused == [400, 400, 404, 404]

    def of(model, name):
        return {key: value for key, value in after[name].items() if ("model", model) in key}

    def one(name):
        (value,) = of("tiny", name).values()
        return value

    assert one("nv_inference_request_success") == 2 * len(sizes)
    assert one("nv_inference_count") == 2 * sum(sizes)
    # Each was alone.
    assert one("nv_inference_exec_count") == 2 * len(sizes)
    assert one("nv_inference_pending_request_count") == 0
    assert one("nd_batch_size_count") == 2 * len(sizes)
    assert one("nd_batch_size_sum") == 2 * sum(sizes)
    assert one("nd_request_duration_seconds_count") == 2 * len(sizes)
    in_model = one("nv_inference_compute_infer_duration_us")
    assert one("nv_inference_request_duration_us") > in_model > 0
    failures = of("tiny", "nv_inference_request_failure")
    assert sum(failures.values()) == 1
    assert set(of("other", "nv_inference_count").values()) == {0}
    assert before.get("nd_refused_requests_total", {}) == {}
    assert sum(after["nd_refused_requests_total"].values()) == 6
