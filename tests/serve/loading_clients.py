"""Clients that ask without a pause, and account for each of their requests."""

import contextlib
import http.client
import json
import threading
import uuid

import numpy as np
import tritonclient.grpc
from served_bundle import images, scores
from tritonclient.utils import InferenceServerException
from whole_server import PATIENCE, infer_json

# Seconds until a request that was refused is sent again.
_PAUSE = 0.01
# Otherwise gRPC connects anew after a second, and all channels over one connection.
_EAGER = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 20),
    ("grpc.min_reconnect_backoff_ms", 20),
    ("grpc.max_reconnect_backoff_ms", 100),
]


class NotAnswered(Exception):  # noqa: N818 - it is what a client may expect
    """A request was refused before anything was done about it."""

    def __init__(self, why):
        self.why = why
        super().__init__(why)


NOBODY = "nobody listens"
NOT_READY = "the model is not ready"
ENDING = "the server is ending"


class Load:
    """Clients of three kinds, each of which asks again as soon as it is answered.

    Args:
        http_address: of the server, which need not run yet.
        grpc_address: of it.
        clients: of each kind: over HTTP on one connection or on many, and over gRPC.
        factor: from a version, which is a number, to what its model multiplies by.

    Attributes:
        versions: what was answered, as (phase of the question, version), once for each request.
        refused: how requests were refused, as (phase of the answer, why).
        wrong: what must not happen, as it was seen.
    """

    def __init__(self, http_address, grpc_address, clients, factor):
        self._factor = factor
        self._phase = "start"
        self._over = threading.Event()
        self.versions, self.refused, self.wrong = [], set(), []
        asking = [
            kind(address)
            for kind, address in (
                (HttpClient, http_address),
                (RestlessClient, http_address),
                (GrpcClient, grpc_address),
            )
            for _ in range(clients)
        ]
        self._answered = [threading.Event() for _ in asking]
        self._threads = [
            threading.Thread(target=self._ask_on, args=each, daemon=True)
            for each in zip(asking, self._answered, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def enter(self, phase):
        """What happens from now on is of another phase."""
        self._phase = phase

    def wait_for_everyone(self):
        """Wait until each client has had one more answer."""
        for answered in self._answered:
            answered.clear()
        for answered in self._answered:
            assert answered.wait(PATIENCE), self.wrong

    def end(self):
        """Wait until every client has found that the server takes no more."""
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def _ask_on(self, client, answered):
        with contextlib.closing(client):
            while self._ask_until_answered(client, f"{type(client).__name__} {uuid.uuid4()}"):
                answered.set()

    def _ask_until_answered(self, client, name):
        x = images(1 + sum(name.encode()) % 4, seed=list(name.encode()))
        while True:
            before = self._phase
            try:
                version, echoed, found = client.ask(x, name)
            except NotAnswered as refusal:
                self.refused.add((self._phase, refusal.why))
                # Whoever is told so had better ask another server.
                if refusal.why == ENDING or self._over.wait(_PAUSE):
                    return False
                continue
            except Exception as error:
                self.wrong.append((before, self._phase, name, type(error), str(error)))
                return False
            wanted = scores(x, self._factor(int(version)))
            if echoed != name or not np.allclose(found, wanted, rtol=1e-5, atol=1e-5):
                self.wrong.append((before, self._phase, name, echoed, version))
            self.versions.append((before, int(version)))
            return True


class HttpClient:
    """A connection that stays open until the server says that it is the last answer."""

    def __init__(self, address):
        self._connection = http.client.HTTPConnection(address, timeout=PATIENCE)

    def ask(self, x, name):
        body = infer_json(x, id=name)
        try:
            if self._connection.sock is None:
                self._connection.connect()
        except ConnectionRefusedError as error:
            raise NotAnswered(NOBODY) from error
        self._connection.request("POST", "/v2/models/tiny/infer", body)
        answer = self._connection.getresponse()
        content = json.loads(answer.read())
        if answer.status == 503 and answer.headers["retry-after"]:
            raise NotAnswered(NOT_READY)
        assert answer.status == 200, content
        (output,) = content["outputs"]
        found = np.array(output["data"], np.float32).reshape(output["shape"])
        return content["model_version"], content["id"], found

    def close(self):
        self._connection.close()


class RestlessClient(HttpClient):
    """Connects anew for each request."""

    def ask(self, x, name):
        self.close()
        return super().ask(x, name)


class GrpcClient:
    """A channel of Triton's client."""

    def __init__(self, address):
        self._client = tritonclient.grpc.InferenceServerClient(address, channel_args=_EAGER)

    def ask(self, x, name):
        given = tritonclient.grpc.InferInput("image", list(x.shape), "FP32")
        given.set_data_from_numpy(x)
        try:
            result = self._client.infer("tiny", [given], request_id=name, client_timeout=PATIENCE)
        except InferenceServerException as error:
            if error.status() != "StatusCode.UNAVAILABLE":
                raise
            if "is ending" in error.message():
                raise NotAnswered(ENDING) from error
            if "refused" in error.message():
                raise NotAnswered(NOBODY) from error
            raise
        response = result.get_response()
        return response.model_version, response.id, result.as_numpy("logits")

    def close(self):
        self._client.close()
