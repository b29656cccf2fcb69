"""What tools/bench_serve.py sends, how it counts, and what it makes of it."""

import http.server
import json
import math
import os
import threading
from dataclasses import replace
from pathlib import Path

import bench_serve
import numpy as np
import pytest
from serve_bench import procfs
from serve_bench.client import ask_http, is_whole
from serve_bench.figures import Compared, Contestant, Footprint, Turn, percentile, row_of
from serve_bench.measure import BARE
from serve_bench.models import RESNET, TOY
from serve_bench.processes import Pins, Server
from serve_bench.requests_on_wire import BINARY, GRPC, JSON, NUMBERED, request_of
from serve_bench.results import JOINING, SINGLE, Results
from serve_bench.table import page

from nd_deploy.profiling.environment.record import Cpu, Environment

X = np.array([[[0.5, -2.0], [3.25, 1e-3]]], np.float32)


def turn(cost_ms, count=10, seconds=(0.01,)):
    return Turn(count, cost_ms * count / 1e3, tuple(seconds))


def compared(cost_ms, before_ms, after_ms, **how):
    return Compared(turn(cost_ms, **how), turn(before_ms), turn(after_ms))


def row(model, server, form, concurrency, *turns):
    return row_of(Contestant(model, server, form, concurrency), turns)


@pytest.fixture
def results():
    rows = (
        row(RESNET, BARE, "batch 1", 1, compared(10, 10, 10)),
        row(RESNET, JOINING, BINARY, 1, compared(10.5, 10, 10), compared(22, 20, 20)),
        row(RESNET, JOINING, BINARY, 32, compared(10.2, 10, 10)),
        row(TOY, JOINING, BINARY, 1, compared(0.5, 0.01, 0.01), compared(0.3, 0.01, 0.01)),
    )
    footprints = (
        Footprint(RESNET, JOINING, 290.0, 250.0, 180.0, 150.0),
        Footprint(RESNET, SINGLE, 400.0, 350.0, 180.0, 150.0),
    )
    return Results(rows, footprints, (1.0, 3.0, 1.5), "Some CPU", "How", "python x", "2026-11-25")


def body_of(request):
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    assert first == "POST /v2/models/toy/infer HTTP/1.1"
    headers = dict(line.split(": ") for line in lines)
    assert int(headers["Content-Length"]) == len(body)
    return headers, body


def test_a_binary_request_carries_the_tensor_behind_its_json():
    headers, body = body_of(request_of(BINARY, "toy", "x", X))
    length = int(headers["Inference-Header-Content-Length"])
    document = json.loads(body[:length])
    (tensor,) = document["inputs"]
    assert (tensor["name"], tensor["datatype"], tensor["shape"]) == ("x", "FP32", [1, 2, 2])
    assert tensor["parameters"]["binary_data_size"] == len(body) - length
    assert document["parameters"] == {"binary_data_output": True}
    np.testing.assert_array_equal(np.frombuffer(body[length:], "<f4"), X.ravel())


def test_a_json_request_carries_the_same_values():
    headers, body = body_of(request_of(JSON, "toy", "x", X))
    assert headers["Content-Type"] == "application/json"
    (tensor,) = json.loads(body)["inputs"]
    np.testing.assert_array_equal(np.array(tensor["data"], np.float32), X.ravel())


def test_tritons_own_messages_read_the_request_of_grpc():
    pb2 = pytest.importorskip("tritonclient.grpc.service_pb2")
    message = pb2.ModelInferRequest.FromString(request_of(GRPC, "toy", "x", X))
    assert message.model_name == "toy"
    assert [*message.inputs[0].shape] == [1, 2, 2]
    assert message.raw_input_contents[0] == X.tobytes()


@pytest.mark.parametrize(
    ("got", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", True),
    ],
)
def test_an_answer_is_whole_when_its_body_has_come(got, whole):
    assert is_whole(got) is whole


@pytest.fixture
def stub_server():
    """Answers every POST, and counts; 500 from the 20th on if it is told to."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            asked.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200 if len(asked) < server.fails_at else 500)
            self.send_header("Content-Length", "3")
            self.end_headers()
            self.wfile.write(b"yes")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.fails_at = math.inf
    server.asked = asked
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_client_counts_every_answer(stub_server):
    request = request_of(BINARY, "toy", "x", X)
    taken = ask_http(stub_server.server_port, 4, 0.05, request)
    assert len(taken) == len(stub_server.asked) >= 4
    assert all(body == body_of(request)[1] for body in stub_server.asked)
    assert 0 < min(taken) <= max(taken) < 5


def test_a_numbered_request_has_another_id_each_time(stub_server):
    request = request_of(NUMBERED, "toy", "x", X)
    taken = ask_http(stub_server.server_port, 4, 0.05, request)
    length = int(body_of(request)[0]["Inference-Header-Content-Length"])
    documents = [json.loads(body[:length]) for body in stub_server.asked]
    assert len({document.pop("id") for document in documents}) == len(taken) >= 4
    plain, headers = body_of(request_of(BINARY, "toy", "x", X))[::-1]
    same = json.loads(plain[: int(headers["Inference-Header-Content-Length"])])
    assert all(document == same for document in documents)
    assert {body[length:] for body in stub_server.asked} == {X.tobytes()}


def test_the_client_takes_no_error_for_an_answer(stub_server):
    stub_server.fails_at = 3
    with pytest.raises(RuntimeError, match="500"):
        ask_http(stub_server.server_port, 1, 5, request_of(BINARY, "toy", "x", X))


def test_the_tree_of_a_process_is_all_that_came_from_it():
    parents = [(1, 0), (2, 1), (3, 2), (4, 1), (5, 3), (6, 4)]
    assert sorted(procfs.tree(2, parents)) == [2, 3, 5]


def test_ticks_are_those_of_a_process_and_of_its_ended_children():
    fields = ["S", "7", *"0" * 9, "100", "20", "3", "4", "20", "0"]
    assert procfs.ticks(f"42 (a) name (with 9 9) {' '.join(fields)}") == 127


def test_ticks_are_the_time_that_the_kernel_says_of_this_process():
    ticks = procfs.ticks(Path("/proc/self/stat").read_text())
    assert ticks / os.sysconf("SC_CLK_TCK") == pytest.approx(sum(os.times()[:4]), abs=0.05)


def test_sizes_are_read_from_the_kernels_summary():
    text = (
        "00400000-7fff ---p 00000000 00:00 0 [rollup]\nRss:  300 kB\nPss:  200 kB\nPss_Anon: 9 kB"
    )
    assert procfs.sizes(text) == procfs.Memory(300 * 1024, 200 * 1024)


@pytest.mark.parametrize("q", [50, 90, 99])
def test_percentiles_are_values_that_were_measured(q):
    values = np.random.default_rng(0).exponential(size=997)
    assert percentile(values, q) == np.percentile(values, q, method="inverted_cdf")
    assert percentile([3.0], q) == 3.0


def test_a_ratio_is_over_the_neighbours_and_the_cost_that_of_the_best_turn():
    found = row(TOY, JOINING, BINARY, 8, compared(3, 1, 2), compared(8, 2, 2), compared(5, 1, 1))
    assert found.ratio == pytest.approx(4.0)
    assert (found.ratio_least, found.ratio_greatest) == pytest.approx((2.0, 5.0))
    assert found.cpu_ms == pytest.approx(3.0)


def test_the_rate_counts_requests_that_are_under_way_together():
    found = row(TOY, JOINING, BINARY, 4, compared(1, 1, 1, count=8, seconds=[0.5] * 8))
    assert found.per_second == pytest.approx(8.0)
    assert found.latency_ms == (500.0, 500.0, 500.0)


def test_a_turn_without_an_answer_is_an_error():
    with pytest.raises(ValueError, match="--seconds"):
        row(TOY, JOINING, BINARY, 1, Compared(Turn(0, 0.1, ()), turn(1), turn(1)))


def test_goals_are_reached_at_their_limits_and_missed_above(results):
    found = {goal.what.partition(":")[0]: (goal.found, goal.is_reached) for goal in results.goals}
    assert found["ResNet-18, concurrency 1"] == (pytest.approx(1.075), True)
    assert found["ResNet-18, concurrency 32"] == (pytest.approx(1.02), False)
    assert found["toy model"] == (pytest.approx(0.3), True)
    assert found["resident memory above the session's, after the load"] == (110.0, True)
    assert found["demo"] == (1.5, True)


def test_what_was_not_measured_has_no_goal(results):
    assert replace(results, rows=(), footprints=(), starts=()).goals == ()


def test_the_page_says_what_was_missed_and_how_it_was_measured(results):
    text = page(results)
    assert text.startswith("`python x`\n\n2026-11-25. Some CPU. How\n")
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines()]
    assert ["demo: start to ready", "2 s", "1.5 s", "reached"] in cells
    assert [line[-1] for line in cells if "concurrency 32" in line[0]] == ["missed"]
    assert [TOY, JOINING, BINARY, "1", "0.3", "40.000 [30.000, 50.000]"] in [c[:6] for c in cells]
    assert [RESNET, SINGLE, "400", "350", "180", "150"] in cells
    assert "1.00, 1.50, 3.00 s" in text


def test_the_figures_are_kept_as_json(results):
    kept = json.loads(json.dumps(results.as_dict()))
    assert kept["rows"][1]["contestant"]["server"] == JOINING
    assert [goal["is_reached"] for goal in kept["goals"]] == [True, False, True, True, True]


def test_a_missed_goal_is_the_exit_code(results, monkeypatch, tmp_path):
    for rows, code in ((results.rows, 1), (results.rows[:2], 0)):
        found = replace(results, rows=rows)
        monkeypatch.setattr(bench_serve, "measured", lambda *_, found=found: found)
        assert bench_serve.main(["--quick", "--out", str(tmp_path)]) == code
        assert (tmp_path / "serve.md").read_text() == page(found)
    assert json.loads((tmp_path / "serve.json").read_text())["created"] == "2026-11-25"


def test_another_server_takes_part_by_its_process_and_ports():
    asked = bench_serve.parse(["--beside", "Triton=42:8000:8001", "--beside", "other=7:90"])
    plan = bench_serve.plan_of(asked)
    assert plan.beside == (("Triton", Server(42, 8000, 8001)), ("other", Server(7, 90, None)))
    assert asked.models == [TOY, RESNET]
    assert plan.forms == (BINARY, NUMBERED, JSON, GRPC)


def test_a_server_that_takes_no_binary_requests_is_asked_in_other_forms():
    asked = bench_serve.parse(["--beside", "MLServer=7:90", "--form", JSON, "--form", GRPC])
    assert bench_serve.plan_of(asked).forms == (JSON, GRPC)


@pytest.mark.parametrize("wrong", ["Triton", "Triton=1", "=1:2", "Triton=1:two", "T=1:2:3:4"])
def test_what_names_no_server_is_refused(wrong, capsys):
    with pytest.raises(SystemExit):
        bench_serve.parse(["--beside", wrong])
    assert wrong in capsys.readouterr().err


def test_the_machine_is_told_in_a_line():
    cpu = Cpu("Some CPU", 2, (0, 1), load=3.5)
    environment = Environment("x86_64", "Linux", "3.11.7", cpu, {"uvicorn": "0.54.0"})
    text = bench_serve.described(environment, Pins(0, 1))
    assert text == (
        "Some CPU, 2 logical processors, load 3.5 at the start; servers on processor 0, clients on "
        "1; Python 3.11.7, uvicorn 0.54.0"
    )
    assert "share" in bench_serve.described(environment, Pins(None, None))
