"""What a connection may take, and what it gets when it takes more."""

import contextlib
import http.client
import select
import socket
import urllib.error
import urllib.request
from itertools import islice

import pytest
from serve_http_helpers import (
    INFER,
    PATIENCE,
    Doubling,
    ask,
    ask_over,
    infer_body,
    is_closed,
    read_answer,
    read_answers,
    run,
    serve,
)
from starlette.responses import Response

from nd_deploy.serve.http import limits
from nd_deploy.serve.settings import Settings

SOON = 0.05  # seconds
# Enough for a request to arrive on a busy machine.
LATER = 0.3  # seconds
BODY = infer_body([[1, 2, 3, 4]])
H2C = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
GET = b"GET /v2/health/live HTTP/1.1\r\nHost: here\r\n\r\n"


def head(*lines, path=INFER):
    return b"\r\n".join([b"POST %b HTTP/1.1" % path.encode(), b"Host: here", *lines, b"", b""])


def sized(body, *lines):
    return head(b"Content-Length: %d" % len(body), *lines) + body


def chunks(*parts):
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


def answers_nothing(connection, seconds):
    return not select.select([connection], [], [], seconds)[0]


@pytest.fixture(scope="module")
def running():
    with serve() as running:
        yield running


@pytest.fixture(scope="module")
def hasty():
    with serve(settings=Settings(header_timeout=SOON)) as running:
        yield running


@pytest.fixture(scope="module")
def strict():
    with serve(settings=Settings(header_limit=500, body_limit=1000)) as running:
        yield running


# Time.


@pytest.mark.parametrize(
    "begun", [b"", b"G", GET[:-2], b"\r\n", GET[:-2] + b"A: "], ids=["nothing", *"abcd"]
)
def test_headers_that_do_not_come_in_time_are_refused(hasty, begun):
    with hasty.connect() as connection:
        connection.sendall(begun)
        assert read_answer(connection).status == 408
        assert is_closed(connection)


def test_headers_that_dribble_get_no_more_time(hasty):
    with hasty.connect() as connection:
        connection.sendall(GET[:-2] + b"Filler: ")
        while answers_nothing(connection, SOON / 10):
            connection.sendall(b"x")
        assert read_answer(connection).status == 408


def test_empty_lines_do_not_keep_a_connection():
    settings = Settings(header_timeout=LATER)
    with serve(settings=settings) as running, running.connect() as connection:
        connection.sendall(GET)
        assert read_answer(connection).status == 200
        while answers_nothing(connection, SOON / 10):
            connection.sendall(b"\r\n")
        assert read_answer(connection).status == 408


def test_the_headers_of_the_next_request_have_their_time_too():
    settings = Settings(header_timeout=LATER)
    with serve(settings=settings) as running, running.connect() as connection:
        connection.sendall(GET)
        assert read_answer(connection).status == 200
        connection.sendall(GET[:20])
        assert read_answer(connection).status == 408


@pytest.mark.parametrize(
    "begun",
    [
        head(b"Content-Length: 100"),
        head(b"Content-Length: 100", *H2C),
        head(b"Content-Length: 100") + b"half",
        head(b"Transfer-Encoding: chunked") + chunks(b"half"),
        head(b"Transfer-Encoding: chunked") + chunks(b"all") + b"0\r\nTrailer: ",
    ],
    ids=["no body", "no body of an offer", "half a body", "a chunk", "half a trailer"],
)
def test_a_body_that_does_not_come_in_time_is_refused(begun):
    settings = Settings(body_timeout=SOON)
    with serve(settings=settings) as running, running.connect() as connection:
        connection.sendall(begun)
        answer = read_answer(connection)
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert is_closed(connection)
    assert [(each.status, each.reason) for each in running.seen] == [(408, "body time")]


def test_a_request_that_is_all_there_may_take_longer():
    service = Doubling(held=True)
    settings = Settings(body_timeout=SOON, keep_alive=SOON)
    with serve(service, settings) as running, running.connect() as connection:
        connection.sendall(sized(BODY))
        service.wait_until_asked()
        assert answers_nothing(connection, 3 * SOON)
        service.let_go()
        assert read_answer(connection).status == 200


def test_an_idle_connection_is_closed_without_a_word():
    settings = Settings(keep_alive=SOON)
    with serve(settings=settings) as running, running.connect() as connection:
        connection.sendall(GET)
        assert read_answer(connection).status == 200
        assert is_closed(connection)


def test_a_client_that_does_not_take_its_answer_is_cut_off():
    async def large(scope, receive, send):
        await Response(bytes(16 * 2**20))(scope, receive, send)

    settings = Settings(keep_alive=SOON, connection_limit=1)
    with run(large, settings) as running, running.connect() as connection:
        connection.sendall(GET)
        with running.connect() as other:
            assert read_answer(other).status == 503
        statuses = iter(lambda: status_of_another(running), 200)
        assert set(statuses) <= {503}


def status_of_another(running):
    with running.connect() as other, contextlib.suppress(ConnectionError):
        other.sendall(GET)
        return int(other.recv(12).split()[1])


# Headers.


@pytest.mark.parametrize("size", [500, 100_000, 300_000])
def test_headers_that_are_too_large_are_refused(strict, size):
    with strict.connect() as connection, contextlib.suppress(ConnectionError):
        connection.sendall(GET[:-2] + b"Filler: %b\r\n\r\n" % (b"x" * size))
    with strict.connect() as connection:
        connection.sendall(GET[:-2] + b"Filler: %b" % (b"x" * size))
        assert read_answer(connection).status == 431
        assert is_closed(connection)


def test_many_headers_count_as_much_as_a_long_one(strict):
    answer = ask(strict, "GET", "/v2", headers={f"n{number}": "" for number in range(100)})
    assert answer.status == 431


def test_a_long_path_counts_too(strict):
    assert ask(strict, "GET", f"/{'x' * 500}").status == 431


def test_headers_that_dribble_are_counted(strict):
    with strict.connect() as connection:
        connection.sendall(GET[:-2])
        while answers_nothing(connection, 0.001):
            connection.sendall(b"Filler: of some length\r\n")
        assert read_answer(connection).status == 431


def test_headers_within_the_limit_are_taken_with_a_large_body_behind_them(strict):
    assert ask(strict, "POST", INFER, BODY + b" " * 700, {"filler": "x" * 300}).status == 200


@pytest.mark.parametrize("line", [b"Trailer: value\r\n", b"x" * 16], ids=["trailers", "one"])
def test_trailers_are_counted(strict, line):
    with strict.connect() as connection:
        connection.sendall(head(b"Transfer-Encoding: chunked") + chunks(BODY) + b"0\r\n")
        while answers_nothing(connection, 0.001):
            connection.sendall(line)
        assert read_answer(connection).status == 431


# Bodies.


def test_a_body_that_announces_too_much_is_refused_before_it_is_sent(strict):
    with strict.connect() as connection:
        connection.sendall(head(b"Content-Length: 1001"))
        assert read_answer(connection).status == 413


@pytest.mark.parametrize("size", [1001, 5_000_000])
def test_a_client_that_sends_too_much_first_reads_why_it_is_refused(strict, size):
    answer = ask(strict, "POST", INFER, bytes(size))
    assert answer.status == 413
    assert "1000 bytes" in answer.json["error"]


def test_a_client_that_closes_reads_why_it_is_refused_too(strict):
    url = "http://{}:{}{}".format(*strict.address, INFER)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url, bytes(5_000_000), timeout=PATIENCE)
    assert refused.value.code == 413
    refused.value.close()


def test_chunks_are_counted_as_they_come(strict):
    with strict.connect() as connection:
        connection.sendall(head(b"Transfer-Encoding: chunked") + chunks(bytes(600)))
        assert answers_nothing(connection, 0)
        connection.sendall(chunks(bytes(401)))
        assert read_answer(connection).status == 413


def test_a_connection_serves_on_after_a_body_that_was_too_large(strict):
    with strict.client() as client:
        client.connect()
        own = client.sock.getsockname()
        assert ask_over(client, "POST", INFER, bytes(200_000)).status == 413
        assert ask_over(client, "POST", INFER, BODY).status == 200
        assert client.sock.getsockname() == own


def test_a_refused_body_is_not_read_without_end(monkeypatch):
    monkeypatch.setattr(limits, "_THROWN_AWAY", 10_000)
    with serve(settings=Settings(body_limit=1000)) as running, running.connect() as connection:
        connection.sendall(head(b"Content-Length: 100000000"))
        assert read_answer(connection).status == 413
        with pytest.raises(ConnectionError):
            send_for_ever(connection)


def send_for_ever(connection):
    while True:
        connection.sendall(bytes(10_000))


def test_a_client_may_ask_before_it_sends_its_body(running):
    with running.connect() as connection:
        connection.sendall(head(b"Content-Length: %d" % len(BODY), b"Expect: 100-continue"))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert read_answer(connection).status == 200


def test_a_client_that_asks_first_is_spared_a_body_that_is_too_large(strict):
    with strict.connect() as connection:
        connection.sendall(head(b"Content-Length: 1001", b"Expect: 100-continue"))
        assert read_answer(connection).status == 413
        assert is_closed(connection)


# Connections, and requests on one.


def test_one_connection_too_many_is_told_to_come_again():
    with serve(settings=Settings(connection_limit=2)) as running:
        with running.connect() as one, running.connect() as two:
            for connection in (one, two):
                connection.sendall(GET)
                assert read_answer(connection).status == 200
            with running.connect() as third:
                answer = read_answer(third)
                assert (answer.status, answer.headers["retry-after"]) == (503, "1")
                assert is_closed(third)
            one.sendall(GET)
            assert read_answer(one).status == 200
        assert [each.reason for each in running.refused] == ["connections"]


def test_far_too_many_connections_are_dropped(monkeypatch):
    monkeypatch.setattr(limits, "_TOLD", 0)
    with serve(settings=Settings(connection_limit=1)) as running, running.connect() as one:
        one.sendall(GET)
        assert read_answer(one).status == 200
        with running.connect() as two:
            assert is_closed(two)


def test_requests_that_are_sent_ahead_are_answered_in_order(running):
    with running.connect() as connection:
        connection.sendall(GET + sized(BODY) + head(path="/nowhere") + GET)
        statuses = [answer.status for answer in islice(read_answers(connection), 4)]
    assert statuses == [200, 200, 404, 200]


def test_no_more_requests_are_sent_ahead_than_may_be():
    with serve() as running, running.connect() as connection:
        connection.sendall(GET * 1000)
        answers = read_answers(connection)
        assert [answer.status for answer in islice(answers, 17)] == [200] * 17
        with pytest.raises(http.client.RemoteDisconnected):
            next(answers)
        assert [each.reason for each in running.refused] == ["pipelining"]


def test_what_is_sent_ahead_is_dropped_with_its_client():
    service = Doubling(held=True)
    with serve(service) as running:
        with running.connect() as connection:
            connection.sendall(sized(BODY) * 3)
            service.wait_until_asked()
        assert service.cancelled.wait(PATIENCE)
    assert not service.asked.acquire(blocking=False)


# What is no request.


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello\r\n\r\n",
        b"GET /v2\r\n\r\n",
        b"GET /v2 HTTP/2.0\r\n\r\n",
        b"GET /v2 HTTP/9.9\r\n\r\n",
        b"FETCH /v2 HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET http://here/v2 HTTP/1.1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\n\r\n",
        b"CONNECT here:80 HTTP/1.1\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nNo colon\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nNul: \x00\r\n\r\n",
        head(b"Content-Length: 1", b"Content-Length: 2"),
        head(b"Content-Length: -1"),
        head(b"Content-Length: 1e3"),
        head(b"Content-Length: 99999999999999999999999"),
        head(b"Content-Length: 3", b"Transfer-Encoding: chunked"),
        head(b"Transfer-Encoding: chunked") + b"zz\r\n",
        head(b"Transfer-Encoding: chunked") + chunks(b"fine") + b"-1\r\n",
        head(b"Transfer-Encoding: chunked") + b"3\r\nlonger",
    ],
)
def test_what_is_no_request_is_refused_and_the_server_goes_on(running, caplog, sent):
    with running.connect() as connection:
        connection.sendall(sent)
        answer = read_answer(connection)
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert answer.content.startswith(b'{"error":"')
        assert is_closed(connection)
    assert ask(running, "POST", INFER, BODY).status == 200
    assert caplog.records == []


def test_what_is_no_request_does_not_hurt_the_one_before_it():
    service = Doubling(held=True)
    with serve(service) as running, running.connect() as connection:
        connection.sendall(sized(BODY))
        service.wait_until_asked()
        connection.sendall(b"hello\r\n\r\n")
        service.let_go()
        assert read_answer(connection).status == 200
        assert is_closed(connection)


def test_requests_of_http_1_0_are_answered(running):
    with running.connect() as connection:
        connection.sendall(b"GET /v2 HTTP/1.0\r\n\r\n")
        assert read_answer(connection).status == 200
        assert is_closed(connection)


# Offers of other protocols.


@pytest.mark.parametrize(
    "sent",
    [
        sized(BODY, *H2C),
        head(b"Transfer-Encoding: chunked", *H2C) + chunks(BODY) + b"0\r\n\r\n",
    ],
    ids=["sized", "chunked"],
)
def test_an_offer_of_http_2_does_not_cost_the_body(running, sent):
    with running.connect() as connection:
        for _ in range(2):
            connection.sendall(sent)
            assert read_answer(connection).status == 200


def test_an_offer_of_a_websocket_is_ignored(running, caplog):
    with running.connect() as connection:
        connection.sendall(GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + GET)
        statuses = [answer.status for answer in islice(read_answers(connection), 2)]
    assert statuses == [200, 200]
    assert caplog.records == []


def test_a_body_may_come_in_pieces_of_any_size(running):
    with running.connect() as connection:
        for byte in sized(BODY, *H2C):
            connection.send(bytes([byte]))
        assert read_answer(connection).status == 200


def test_a_half_closed_connection_counts_as_gone():
    service = Doubling(held=True)
    with serve(service) as running, running.connect() as connection:
        connection.sendall(sized(BODY))
        service.wait_until_asked()
        connection.shutdown(socket.SHUT_WR)
        assert service.cancelled.wait(PATIENCE)
