"""Request ids, the token, what observers are told, and clients that go away."""

import asyncio
import re
import threading

import pytest
from serve_http_helpers import INFER, PATIENCE, Doubling, ask, infer_body, serve
from starlette.responses import Response

from nd_deploy.serve.http.app import make_app
from nd_deploy.serve.http.handlers import Extras
from nd_deploy.serve.http.request_id import current
from nd_deploy.serve.settings import Settings

TOKEN = "correct horse"
BODY = infer_body([[1, 2, 3, 4]])


def infer_request(body=BODY, length=None):
    """The bytes of an inference request."""
    return b"POST %b HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n%b" % (
        INFER.encode(),
        len(body) if length is None else length,
        body,
    )


@pytest.fixture(scope="module")
def running():
    with serve() as running:
        yield running


@pytest.mark.parametrize("sane", ["a", "0af7651916cd43dd-8448eb211c80319c:1/2", "x" * 128])
def test_a_clients_request_id_is_kept(running, sane):
    assert (
        ask(running, "GET", "/v2", headers={"x-request-id": sane}).headers["x-request-id"] == sane
    )


@pytest.mark.parametrize("insane", ["", "x" * 129, "a b", "a\tb", "é", '"', "<a>"])
def test_another_request_id_is_replaced(running, insane):
    headers = {"x-request-id": insane.encode()}
    given = ask(running, "GET", "/v2", headers=headers).headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", given)


def test_each_request_has_an_id_of_its_own(running):
    ids = {ask(running, "GET", "/nowhere").headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3


def test_the_id_is_known_where_the_request_is_answered():
    async def handler(_):
        return Response(current.get())

    with serve(extras=Extras(metrics=handler)) as running:
        answer = ask(running, "GET", "/metrics", headers={"x-request-id": "mine"})
    assert answer.content == b"mine"


def test_observers_are_told_of_every_request():
    with serve() as running:
        ask(running, "POST", INFER, BODY, {"x-request-id": "one"})
        ask(running, "GET", "/v2/models/none", headers={"x-request-id": "two"})
    told = [
        (each.method, each.path, each.status, each.reason, each.request_id, each.client)
        for each in running.seen
    ]
    assert told == [
        ("POST", INFER, 200, "", "one", "127.0.0.1"),
        ("GET", "/v2/models/none", 404, "no model", "two", "127.0.0.1"),
    ]
    assert all(0 < each.seconds < PATIENCE for each in running.seen)


@pytest.fixture(scope="module")
def guarded():
    with serve(settings=Settings(token=TOKEN)) as running:
        yield running


@pytest.mark.parametrize(
    "shown",
    [None, "", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN],
)
def test_without_the_token_nothing_is_told(guarded, shown):
    headers = {} if shown is None else {"authorization": shown}
    for method, path in (("POST", INFER), ("GET", "/v2"), ("GET", "/nowhere"), ("GET", "/metrics")):
        answer = ask(guarded, method, path, headers=headers)
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in answer.content.decode()


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_with_the_token_all_is_answered(guarded, scheme):
    answer = ask(guarded, "POST", INFER, BODY, {"authorization": f"{scheme} {TOKEN}"})
    assert answer.status == 200


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
def test_health_needs_no_token(guarded, path):
    assert ask(guarded, "GET", path).status == 200


def test_paths_that_are_for_anyone_need_no_token():
    async def page(_):
        return Response("<p>")

    extras = Extras(page={"/": page, "/secret": page}, for_anyone=frozenset({"/"}))
    with serve(settings=Settings(token=TOKEN), extras=extras) as running:
        assert ask(running, "GET", "/").status == 200
        assert ask(running, "GET", "/secret").status == 401


def test_a_client_that_goes_away_takes_its_request_with_it(caplog):
    service = Doubling(held=True)
    with serve(service) as running:
        with running.connect() as connection:
            connection.sendall(infer_request())
            service.wait_until_asked()
        assert service.cancelled.wait(PATIENCE)
    assert [(each.status, each.reason) for each in running.seen] == [(499, "client gone")]
    assert caplog.records == []


def test_a_client_that_goes_away_before_all_is_sent_is_nobodys_fault(caplog):
    service = Doubling()
    with serve(service) as running, running.connect() as connection:
        connection.sendall(infer_request(BODY[:10], length=len(BODY)))
    assert service.asked.acquire(blocking=False) is False
    assert all(each.status == 499 for each in running.seen)
    assert caplog.records == []


def test_requests_are_answered_while_others_wait():
    service = Doubling(held=True)
    with serve(service) as running, running.connect() as waiting:
        waiting.sendall(infer_request())
        service.wait_until_asked()
        assert ask(running, "GET", "/v2/health/live").status == 200
        service.let_go()


def test_many_clients_get_each_their_own_answer(running):
    answers = {}

    def client(number):
        answer = ask(running, "POST", INFER, infer_body([[number] * 4]))
        answers[number] = answer.json["outputs"][0]["data"]

    threads = [threading.Thread(target=client, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert answers == {number: [2.0 * number] * 4 for number in range(20)}


def test_what_is_no_request_is_left_to_the_application():
    events = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    answers = []

    async def receive():
        return next(events)

    async def send(message):
        answers.append(message["type"])

    app = make_app(Doubling(), Settings(token=TOKEN))
    asyncio.run(app({"type": "lifespan", "app": app}, receive, send))
    assert answers == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
