"""The server's life: its address, its start, its end."""

import asyncio
import http.client
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections import Counter

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
    serve,
)

from nd_deploy.errors import BundleError, InputError
from nd_deploy.serve.http import serving
from nd_deploy.serve.http.app import make_app
from nd_deploy.serve.http.life import Part
from nd_deploy.serve.http.server import Server
from nd_deploy.serve.settings import Settings

BODY = infer_body([[1, 2, 3, 4]])
POST = b"POST %b HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n%b" % (
    INFER.encode(),
    len(BODY),
    BODY,
)
SOON = 0.05  # seconds
ANY_PORT = Settings(http_port=0)


class Recorder:
    """A part that notes what becomes of it."""

    def __init__(self, notes, name):
        self._notes = notes
        self._name = name
        self.ended = threading.Event()

    @property
    def part(self):
        return Part(self._start, self._end, self._finish, self._close)

    def _note(self, what):
        self._notes.append(f"{self._name} {what}")

    async def _start(self):
        self._note("starts")

    def _end(self):
        self._note("ends")
        self.ended.set()

    async def _finish(self, seconds):
        self._note(f"finishes within {seconds:g} s")

    async def _close(self):
        self._note("closes")


@pytest.fixture
def quick(monkeypatch):
    """Idle connections are closed at once."""
    monkeypatch.setattr(serving, "_LAST_CHANCE", 0.01)


# The address.


def test_a_port_in_use_is_named_with_its_flag():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=rf"port {port} .*in use \(--http-port\)"):
            Server(make_app(Doubling(), ANY_PORT), Settings(http_port=port))


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "a" * 300])
def test_an_address_that_is_not_there_is_named_with_its_flag(host):
    with pytest.raises(InputError, match=r"--host"):
        Server(make_app(Doubling(), ANY_PORT), Settings(host=host, http_port=0))


def test_a_port_that_is_not_allowed_is_named_with_its_flag(monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(InputError, match=r"port 80 \(--http-port\)"):
        Server(make_app(Doubling(), ANY_PORT), Settings(http_port=80))


def test_nobody_else_can_reach_the_server_by_default():
    with serve() as running:
        assert running.address[0] == "127.0.0.1"
        assert running.address[1] != 0


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_an_address_of_ipv6_is_served():
    with serve(settings=Settings(host="::1")) as running:
        assert running.address[0] == "::1"
        assert ask(running, "GET", "/v2/health/live").status == 200


def test_clients_can_connect_before_the_server_runs():
    server = Server(make_app(Doubling(), ANY_PORT), ANY_PORT)
    with socket.create_connection(server.address, timeout=PATIENCE) as connection:
        connection.sendall(POST)
        thread = threading.Thread(target=server.run)
        thread.start()
        assert read_answer(connection).status == 200
    server.stop()
    thread.join(PATIENCE)
    assert not thread.is_alive()


# The start.


def test_parts_start_in_order_and_close_the_other_way_round():
    notes = []
    parts = [Recorder(notes, name).part for name in ("one", "two")]
    ready = threading.Event()
    with serve(settings=Settings(drain_timeout=3), parts=parts, ready=ready.set) as running:
        assert ready.wait(PATIENCE)
        assert notes == ["one starts", "two starts"]
    assert running.join() == 0
    assert notes[2:] == [
        "one ends",
        "two ends",
        "one finishes within 3 s",
        "two finishes within 3 s",
        "two closes",
        "one closes",
    ]


def test_the_server_is_live_while_its_parts_start():
    go_on = threading.Event()
    ready = threading.Event()

    async def start():
        await asyncio.to_thread(go_on.wait, PATIENCE)

    with serve(parts=[Part(start=start)], ready=ready.set) as running:
        assert ask(running, "GET", "/v2/health/live").status == 200
        assert not ready.is_set()
        go_on.set()
        assert ready.wait(PATIENCE)


def test_a_part_that_cannot_start_ends_the_server():
    notes = []

    async def fail():
        raise BundleError("the bundle is another", "convert it again")

    parts = [Recorder(notes, "one").part, Part(start=fail)]
    with serve(parts=parts) as running, pytest.raises(BundleError, match="is another"):
        running.join()
    assert notes == ["one starts", "one closes"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(running.address)


def test_a_start_that_takes_long_is_given_up_when_the_server_is_to_end():
    starting = threading.Event()
    cancelled = threading.Event()

    async def start():
        starting.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with serve(parts=[Part(start=start)]) as running:
        assert starting.wait(PATIENCE)
        running.server.stop()
        assert running.join() == 0
    assert cancelled.is_set()


def test_a_server_that_is_ended_before_it_runs_does_not_wait():
    server = Server(make_app(Doubling(), ANY_PORT), ANY_PORT)
    server.stop()
    assert server.run() == 0


# The end.


def test_what_is_under_way_is_finished_and_nothing_new_is_taken(quick):
    service = Doubling(held=True)
    recorder = Recorder([], "part")
    with serve(service, parts=[recorder.part]) as running, running.connect() as connection:
        connection.sendall(POST)
        service.wait_until_asked()
        running.server.stop()
        assert recorder.ended.wait(PATIENCE)
        wait_until_refused(running.address)
        service.let_go()
        answer = read_answer(connection)
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert running.join() == 0


def wait_until_refused(address):
    for _ in range(10_000):
        try:
            socket.create_connection(address, timeout=SOON).close()
        except ConnectionRefusedError:
            return
        except TimeoutError:
            continue
    pytest.fail("the server still listens")


def test_requests_are_still_taken_for_the_drains_delay():
    recorder = Recorder([], "part")
    settings = Settings(drain_delay=0.5)
    with serve(settings=settings, parts=[recorder.part]) as running:
        running.server.stop()
        assert recorder.ended.wait(PATIENCE)
        answer = ask(running, "POST", INFER, BODY)
        assert (answer.status, answer.headers["connection"]) == (200, "close")


def test_a_request_that_takes_too_long_is_told_that_the_server_ends():
    service = Doubling(held=True)
    settings = Settings(drain_timeout=0.05)
    with serve(service, settings) as running, running.connect() as connection:
        connection.sendall(POST)
        service.wait_until_asked()
        running.server.stop()
        answer = read_answer(connection)
        assert (answer.status, answer.content) == (503, b'{"error":"the server is ending"}')
        assert running.join() == 1
    assert service.cancelled.is_set()


def test_a_request_on_its_way_over_an_open_connection_is_answered():
    recorder = Recorder([], "part")
    with serve(parts=[recorder.part]) as running, running.connect() as connection:
        connection.sendall(POST)
        assert read_answer(connection).status == 200
        running.server.stop()
        assert recorder.ended.wait(PATIENCE)
        connection.sendall(POST)
        answer = read_answer(connection)
        assert (answer.status, answer.headers["connection"]) == (200, "close")


def test_an_idle_connection_does_not_hold_the_server_up(quick):
    with serve() as running, running.connect() as connection:
        running.server.stop()
        assert running.join() == 0
        assert is_closed(connection)


@pytest.mark.parametrize("sent", [20, len(POST) - 5], ids=["half its headers", "half its body"])
def test_a_request_that_is_half_sent_is_awaited(quick, sent):
    service = Doubling()
    with serve(service) as running, running.connect() as connection:
        connection.sendall(POST)
        assert read_answer(connection).status == 200
        connection.sendall(POST[:sent])
        ask(running, "GET", "/v2")  # what came before it has been read
        running.server.stop()
        wait_until_refused(running.address)
        connection.sendall(POST[sent:])
        assert read_answer(connection).status == 200
        assert running.join() == 0


def test_no_request_is_lost_when_a_busy_server_ends():
    outcomes = Counter()
    busy = threading.Semaphore(0)

    def client():
        while True:
            with running.client() as connection:
                connection.timeout = SOON
                try:
                    connection.connect()
                except ConnectionRefusedError:
                    return
                except TimeoutError:
                    continue
                connection.sock.settimeout(PATIENCE)
                use(connection)

    def use(connection):
        is_last = False
        while not is_last:
            try:
                answer = ask_over(connection, "POST", INFER, BODY)
            except (OSError, http.client.HTTPException) as error:
                outcomes[repr(error)] += 1
                return
            outcomes[answer.status] += 1
            busy.release()
            is_last = answer.headers["connection"] == "close"

    with serve(settings=Settings(drain_delay=0.05)) as running:
        threads = [threading.Thread(target=client) for _ in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(100):
            assert busy.acquire(timeout=PATIENCE)
        running.server.stop()
        for thread in threads:
            thread.join(PATIENCE)
        assert running.join() == 0
    assert set(outcomes) == {200}


# Signals.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_and_handlers_are_put_back(number):
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    server = Server(
        make_app(Doubling(), ANY_PORT), ANY_PORT, ready=lambda: os.kill(os.getpid(), number)
    )
    assert server.run() == 0
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_second_signal_ends_the_server_at_once():
    script = """
        import asyncio, sys
        from nd_deploy.serve.http.life import Part
        from nd_deploy.serve.http.server import Server
        from nd_deploy.serve.settings import Settings

        def say(word):
            sys.stdout.write(word)
            sys.stdout.flush()

        async def forever(_):
            await asyncio.Event().wait()

        part = Part(end=lambda: say("E"), finish=forever)
        Server(None, Settings(http_port=0), [part], ready=lambda: say("R")).run()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.read(1) == b"R"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read(1) == b"E"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == -signal.SIGTERM
