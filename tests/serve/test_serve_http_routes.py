"""Every path, and what it answers."""

import gzip
import json

import numpy as np
import pytest
from serve_http_helpers import INFER, Doubling, ask, ask_over, infer_body, serve
from starlette.responses import Response

import nd_deploy
from nd_deploy.serve.http.body import read_body
from nd_deploy.serve.http.handlers import Extras
from nd_deploy.serve.settings import Settings

VALUES = np.arange(8, dtype=np.float32).reshape(2, 4)


async def metrics(_):
    return Response("counted 1\n", media_type="text/plain")


async def classify(request):
    body = await read_body(request, 100)
    return Response(f"{request.path_params['model']} {len(body)}")


async def page(_):
    return Response("<p>", media_type="text/html")


EXTRAS = Extras(metrics, classify, {"/": page, "/page.css": page})


@pytest.fixture(scope="module")
def running():
    with serve(extras=EXTRAS) as running:
        yield running


def test_the_server_describes_itself(running):
    answer = ask(running, "GET", "/v2")
    assert answer.status == 200
    assert answer.json["name"] == "nd-deploy"
    assert answer.json["version"] == nd_deploy.__version__
    assert "binary_tensor_data" in answer.json["extensions"]


def test_a_server_that_answers_is_live(running):
    answer = ask(running, "GET", "/v2/health/live")
    assert (answer.status, answer.json) == (200, {"live": True})


def test_readiness_is_the_services(running):
    answer = ask(running, "GET", "/v2/health/ready")
    assert (answer.status, answer.json) == (200, {"ready": True})
    running.service.ready = False
    answer = ask(running, "GET", "/v2/health/ready")
    running.service.ready = True
    assert (answer.status, answer.json) == (503, {"ready": False})


@pytest.mark.parametrize("path", ["/v2/models/double", "/v2/models/double/versions/1"])
def test_a_model_is_described_with_and_without_its_version(running, path):
    described = ask(running, "GET", path)
    assert described.status == 200
    assert described.json["name"] == "double"
    assert described.json["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    assert ask(running, "GET", f"{path}/ready").json == {"name": "double", "ready": True}
    assert ask(running, "GET", f"{path}/config").json["name"] == "double"
    (statistics,) = ask(running, "GET", f"{path}/stats").json["model_stats"]
    assert statistics["inference_count"] == 7


def test_statistics_are_given_of_all_models_at_once(running):
    (statistics,) = ask(running, "GET", "/v2/models/stats").json["model_stats"]
    assert statistics["name"] == "double"


@pytest.mark.parametrize("suffix", ["", "/ready", "/config", "/stats", "/versions/2"])
def test_an_unknown_model_or_version_is_not_found(running, suffix):
    name = "double" if "versions" in suffix else "unknown"
    answer = ask(running, "GET", f"/v2/models/{name}{suffix}")
    assert (answer.status, answer.json) == (404, {"error": "there is no such model"})


def test_a_model_that_is_loading_is_not_ready_and_says_when_to_ask_again(running):
    answer = ask(running, "GET", "/v2/models/loading/ready")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    answer = ask(running, "POST", "/v2/models/loading/infer", infer_body(VALUES))
    assert (answer.status, answer.json) == (503, {"error": "the model is loading"})


@pytest.mark.parametrize("path", [INFER, "/v2/models/double/versions/1/infer"])
def test_inference_answers_in_json(running, path):
    answer = ask(running, "POST", path, infer_body(VALUES))
    assert answer.status == 200
    (output,) = answer.json["outputs"]
    assert output["shape"] == [2, 4]
    np.testing.assert_array_equal(output["data"], (VALUES * 2).ravel())


def test_inference_answers_binary_tensors(running):
    head = json.dumps(
        {
            "parameters": {"binary_data_output": True},
            "inputs": [
                {
                    "name": "x",
                    "datatype": "FP32",
                    "shape": [2, 4],
                    "parameters": {"binary_data_size": VALUES.nbytes},
                }
            ],
        }
    ).encode()
    length = "inference-header-content-length"
    body = head + VALUES.tobytes()
    answer = ask(running, "POST", INFER, body, {length: str(len(head))})
    assert answer.status == 200
    data = answer.content[int(answer.headers[length]) :]
    np.testing.assert_array_equal(np.frombuffer(data, np.float32), (VALUES * 2).ravel())


def test_inference_reads_and_writes_compressed_bodies(running):
    document = json.loads(infer_body(np.full((8, 4), 1 / 3)))
    document["id"] = "a" * 1024
    headers = {"content-encoding": "gzip", "accept-encoding": "gzip"}
    answer = ask(running, "POST", INFER, gzip.compress(json.dumps(document).encode()), headers)
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "accept-encoding"
    (output,) = json.loads(gzip.decompress(answer.content))["outputs"]
    np.testing.assert_allclose(output["data"], np.full(32, 2 / 3), rtol=1e-6)


def test_a_large_request_is_read_as_a_small_one_is(running):
    body = infer_body(VALUES) + b" " * 2**20
    answer = ask(running, "POST", INFER, body)
    np.testing.assert_array_equal(answer.json["outputs"][0]["data"], (VALUES * 2).ravel())


def test_a_request_that_does_not_fit_is_refused(running):
    answer = ask(running, "POST", INFER, infer_body(np.zeros((2, 3))))
    assert answer.status == 400
    assert "error" in answer.json


def test_an_unknown_encoding_is_refused(running):
    answer = ask(running, "POST", INFER, b"{}", {"content-encoding": "br"})
    assert answer.status == 415


def test_the_repository_is_listed(running):
    answer = ask(running, "POST", "/v2/repository/index")
    assert [(each["name"], each["state"]) for each in answer.json] == [
        ("double", "READY"),
        ("loading", "LOADING"),
    ]
    answer = ask(running, "POST", "/v2/repository/index", b'{"ready": true}')
    assert [each["name"] for each in answer.json] == ["double"]
    assert ask(running, "POST", "/v2/repository/index", b"[").status == 400


def test_what_is_handed_in_is_served(running):
    assert ask(running, "GET", "/metrics").content == b"counted 1\n"
    assert ask(running, "POST", "/v1/models/m/classify", b"abc").content == b"m 3"
    assert ask(running, "GET", "/").headers["content-type"].startswith("text/html")
    assert ask(running, "GET", "/page.css").status == 200


def test_a_handler_limits_its_body_itself(running):
    assert ask(running, "POST", "/v1/models/m/classify", bytes(101)).status == 413


def test_without_extras_there_is_nothing_but_the_protocol():
    with serve(settings=Settings(page=False), extras=Extras(page={"/": page})) as running:
        for path in ("/metrics", "/", "/v1/models/m/classify"):
            assert ask(running, "GET", path).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/v2/",
        "//v2",
        "/v2/models",
        "/v2/models/a%2Fb",
        "/v2/../v2",
        "/v2/models//infer",
    ],
)
def test_a_path_that_is_not_there_is_not_found(running, path):
    answer = ask(running, "GET", path)
    assert (answer.status, answer.json) == (404, {"error": "there is nothing at this path"})


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", INFER, {"POST"}),
        ("PUT", INFER, {"POST"}),
        ("OPTIONS", INFER, {"POST"}),
        ("POST", "/v2", {"GET", "HEAD"}),
        ("DELETE", "/v2/models/double", {"GET", "HEAD"}),
        ("GET", "/v2/repository/index", {"POST"}),
        ("POST", "/metrics", {"GET", "HEAD"}),
    ],
)
def test_another_method_is_refused_and_told_which_there_are(running, method, path, allowed):
    answer = ask(running, method, path)
    assert answer.status == 405
    assert set(answer.headers["allow"].split(", ")) == allowed
    assert method in answer.json["error"]


def test_head_answers_what_get_does_without_the_body(running):
    told, given = ask(running, "HEAD", "/v2"), ask(running, "GET", "/v2")
    assert (told.status, told.content) == (200, b"")
    assert told.headers["content-length"] == str(len(given.content))


def test_a_connection_takes_one_request_after_another(running):
    with running.client() as client:
        client.connect()
        own = client.sock.getsockname()
        for scale in (1, 2, 3):
            answer = ask_over(client, "POST", INFER, infer_body(VALUES * scale))
            np.testing.assert_array_equal(
                answer.json["outputs"][0]["data"], (VALUES * 2 * scale).ravel()
            )
            assert client.sock.getsockname() == own


def test_answers_are_dated(running):
    assert ask(running, "GET", "/v2").headers["date"].endswith("GMT")


def test_a_fault_is_told_without_its_details_and_logged_with_them(caplog):
    service = Doubling()
    service.fault = RuntimeError("the secret inside")
    with serve(service) as running:
        answer = ask(running, "POST", INFER, infer_body(VALUES), {"x-request-id": "one"})
    assert answer.status == 500
    assert "secret" not in answer.content.decode()
    (record,) = caplog.records
    assert "one" in record.getMessage()
    assert "the secret inside" in record.exc_text
    assert [each.reason for each in running.seen] == ["fault"]
