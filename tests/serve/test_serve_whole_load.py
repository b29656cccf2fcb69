"""No request is lost: under load a server starts, exchanges its model time and again, and ends."""

import json
import shutil
import threading
from collections import Counter

import numpy as np
import pytest
from free_ports import free_ports
from loading_clients import ENDING, NOBODY, NOT_READY, HttpClient, Load, NotAnswered
from served_bundle import images, reference, scores, write
from whole_server import PATIENCE, ServeProcess, ask, starting, until

from nd_deploy.serve.models.loading import load_source

CLIENTS = 4
RELOADS = 10
# Seconds between looks whether the bundle has changed.
LOOK = 0.005


def factor(version):
    """Of the two bundles the first is served as versions 1, 3, 5 and so on."""
    return 1.0 if version % 2 else 2.0


class Exchange:
    """A bundle's folder, and others that take its place by renaming, as `convert` does."""

    def __init__(self, folder):
        self.live = folder / "live"
        self._folder = folder
        self._current = "odd"
        write(folder / "odd", factor=1.0).rename(self.live)
        write(folder / "even", factor=2.0)
        self._add_changed()
        # It is whole, and does not compute what PyTorch did.
        write(folder / "wrong", factor=3.0, reference=reference(factor=2.0))

    def put(self, name):
        self.live.rename(self._folder / self._current)
        (self._folder / name).rename(self.live)
        self._current = name

    def _add_changed(self):
        """A bundle whose model is not the one that was written."""
        shutil.copytree(self.live, self._folder / "changed")
        with (self._folder / "changed" / "model.onnx").open("ab") as file:
            file.write(b"\0")


def test_no_request_is_lost_from_the_start_to_the_end(tmp_path):
    bundles = Exchange(tmp_path)
    http_port, grpc_port = free_ports(2)
    address = f"127.0.0.1:{http_port}"

    def versions():
        return ask(address, "GET", "/v2/models/tiny").json["versions"]

    def reason():
        return ask(address, "POST", "/v2/repository/index").json[0]["reason"]

    arguments = (
        f"tiny={bundles.live}",
        *("--http-port", http_port, "--grpc-port", grpc_port),
        *("--limit", f"reload_interval={LOOK}", "--access-log", "--log-json"),
    )
    clients = Load(address, f"127.0.0.1:{grpc_port}", CLIENTS, factor)
    with clients as load, ServeProcess(*arguments) as process:
        process.wait_until_ready()
        load.wait_for_everyone()
        load.enter("serving")
        for version in range(2, 2 + RELOADS):
            bundles.put("odd" if version % 2 else "even")
            until(lambda version=version: versions() == [str(version)])
            load.wait_for_everyone()
            if version in (4, 7):
                bundles.put("changed" if version == 4 else "wrong")
                until(reason)
                load.wait_for_everyone()
                assert versions() == [str(version)]
        load.enter("ending")
        code = process.end()
        load.end()

    assert load.wrong == []
    assert code == 0
    # Only at the start and at the end did anybody have to ask again.
    assert {("start", NOBODY), ("ending", NOBODY)} <= load.refused
    assert load.refused <= {
        ("start", NOBODY),
        ("start", NOT_READY),
        ("ending", NOBODY),
        ("ending", ENDING),
    }
    served = [version for phase, version in load.versions if phase != "start"]
    assert set(served) - {1} == set(range(2, 2 + RELOADS))
    # And the server answered each of them once.
    entries = map(json.loads, process.said["stderr"])
    answered = Counter(each["status"] for each in entries if _is_inference(each.get("path", "")))
    assert answered[200] == len(load.versions)
    assert set(answered) <= {200, 503}


def _is_inference(path):
    return path.endswith(("/infer", "/ModelInfer"))


def test_requests_before_the_server_is_ready_are_told_to_come_back(tmp_path, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def load_later(*arguments, **named):
        begun.set()
        assert go_on.wait(PATIENCE)
        return load_source(*arguments, **named)

    monkeypatch.setattr("nd_deploy.serve.application.load_source", load_later)
    x = images(2)
    with starting({"tiny": write(tmp_path / "tiny")}) as running:
        assert begun.wait(PATIENCE)
        client = HttpClient(running.http)
        for _ in range(3):
            with pytest.raises(NotAnswered, match=NOT_READY):
                client.ask(x, "early")
        assert ask(running.http, "GET", "/v2/health/live").status == 200
        assert ask(running.http, "GET", "/v2/health/ready").status == 503
        assert ask(running.http, "GET", "/v2/models/tiny/ready").status == 503
        go_on.set()
        running.wait_until_ready()
        version, name, found = client.ask(x, "in time")
        client.close()
    assert (version, name) == ("1", "in time")
    assert np.allclose(found, scores(x))
