"""How answers go out, and where requests for inference come in."""

import asyncio
import gc
import http.client
import json
import weakref

import pytest
from serve_http_helpers import INFER, Doubling, ask, infer_body, serve
from starlette.responses import Response, StreamingResponse

from nd_deploy.serve.http.app import make_app
from nd_deploy.serve.http.handlers import Extras
from nd_deploy.serve.settings import Settings

BODY = infer_body([[1, 2, 3, 4]])


def with_page(handler):
    return serve(extras=Extras(page={"/page": handler}))


@pytest.mark.parametrize("size", [0, 1, 2**16, 2**16 + 1, 5_000_000])
def test_bodies_of_any_size_come_whole_and_the_connection_stays(size):
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    async def page(_):
        return Response(content)

    with with_page(page) as running, running.client() as client:
        for _ in range(2):
            client.request("GET", "/page")
            answer = client.getresponse()
            assert answer.read() == content
            assert answer.headers["content-length"] == str(size)
            assert answer.headers.get("connection") is None


async def _line_break(_):
    return Response("body", headers={"x-mine": "a\r\nset-cookie: b"})


async def _pieces(_):
    return StreamingResponse(iter([b"secret", b"secret"]))


@pytest.mark.parametrize("handler", [_line_break, _pieces])
def test_an_answer_that_may_not_go_out_ends_the_connection_and_is_logged(handler, caplog):
    with with_page(handler) as running:
        with running.client() as client:
            client.request("GET", "/page")
            with pytest.raises(http.client.RemoteDisconnected):
                client.getresponse()
        assert ask(running, "GET", "/v2").status == 200
    assert any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_inference_is_found_below_a_proxys_own_path(version):
    body = json.dumps({"inputs": [_input()]}).encode()
    path = f"/v2/models/double{version}/infer"
    for root in ("", "/api"):
        messages = _answered({"root_path": root, "path": root + path}, body)
        assert messages[0]["status"] == 200
        assert json.loads(messages[1]["body"])["outputs"][0]["data"] == [2.0, 4.0, 6.0, 8.0]


def _input():
    return {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}


def _answered(changes, body):
    """The messages of ASGI that answer a request."""
    scope = {"type": "http", "method": "POST", "headers": [], "query_string": b"", **changes}
    sent = []

    async def receive():
        return {"type": "http.request", "body": body}

    async def send(message):
        sent.append(message)

    asyncio.run(make_app(Doubling(), Settings())(scope, receive, send))
    return sent


@pytest.mark.parametrize("path", [INFER + "/", INFER + "x", "/v2/models/a/b/infer", "/v2/infer"])
def test_nothing_is_at_paths_that_are_like_those_of_inference(path):
    with serve() as running:
        answer = ask(running, "POST", path, BODY)
    assert (answer.status, answer.json["error"]) == (404, "there is nothing at this path")


def test_inference_takes_posts_alone():
    with serve() as running:
        answer = ask(running, "GET", INFER)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


class _Mark:
    """Something whose end can be seen."""


@pytest.mark.parametrize("path", ["/v2/models/none/infer", "/nowhere"])
def test_a_refused_request_is_freed_at_once(path):
    mark = _Mark()
    seen = weakref.ref(mark)
    gc.disable()
    try:
        (start, _) = _answered({"path": path, "state": {"mark": mark}}, b"")
        assert start["status"] == 404
        del mark, start
        assert seen() is None
    finally:
        gc.enable()
