"""The endpoints for images over ASGI."""

import asyncio
import json
from dataclasses import replace

import image_service as served
import pytest

from nd_deploy.serve.exchange import ModelState
from nd_deploy.serve.http.app import make_app
from nd_deploy.serve.images.decoder import Decoder
from nd_deploy.serve.settings import Settings

PNG = served.encoded(served.picture())
HEAD = b'--edge\r\nContent-Disposition: form-data; name="f"; filename="a.png"\r\n\r\n'
FORM = HEAD + PNG + b"\r\n--edge--\r\n"


@pytest.fixture
def ask():
    """Send a request to the endpoints; gives the status and the JSON of the answer."""
    opened = []

    def send(method, target, body=b"", service=None, pieces=1, **options):
        headers = options.pop("headers", {})
        settings = replace(Settings(), **options)
        decoder = Decoder(settings)
        opened.append(decoder)
        service = service or served.LinearModels(served.spec())
        app = make_app(service, settings, served.extras(service, settings, decoder))
        return asyncio.run(_ask(app, method, target, body, pieces, headers))

    yield send
    for decoder in opened:
        decoder.close()


async def _ask(app, method, target, body, pieces, headers):
    path, _, query = target.partition("?")
    size = -(-len(body) // pieces) or 1
    parts = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    coming = [
        {"type": "http.request", "body": part, "more_body": part is not parts[-1]} for part in parts
    ]
    sent = []

    async def receive():
        return coming.pop(0)

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    await app(scope, receive, send)
    answer = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(answer), coming


def test_an_image_is_answered_with_its_classes(ask):
    status, answer, _ = ask("POST", "/v1/models/pets/classify?top_k=2", PNG)
    assert status == 200
    assert set(answer) == {"model_name", "model_version", "predictions"}
    assert len(answer["predictions"]) == 2
    assert set(answer["predictions"][0]) == {"index", "label", "score"}


def test_a_form_is_answered_like_the_file_in_it(ask):
    bare = ask("POST", "/v1/models/pets/classify", PNG)
    content_type = {"content-type": "multipart/form-data; boundary=edge"}
    assert ask("POST", "/v1/models/pets/classify", FORM, headers=content_type) == bare


def test_the_type_that_a_client_claims_does_not_matter(ask):
    bare = ask("POST", "/v1/models/pets/classify", PNG)
    for claimed in ("image/jpeg", "application/x-www-form-urlencoded", "nonsense"):
        headers = {"content-type": claimed}
        assert ask("POST", "/v1/models/pets/classify", PNG, headers=headers) == bare


@pytest.mark.parametrize(
    "query",
    [
        "top_k=0", "top_k=-1", "top_k=", "top_k=two", "top_k=1.5", "top_k=1e3", "top_k=%C2%B2",
        "top_k=1&top_k=2", "topk=3", "top_k=3&x=1", "top_k=" + 5000 * "9", "top_k=%D9%A1",
    ],
)  # fmt: skip
def test_a_query_that_is_no_count_of_classes_is_refused(ask, query):
    status, answer, unread = ask("POST", f"/v1/models/pets/classify?{query}", PNG)
    assert status == 400
    assert "top_k" in answer["error"]
    assert len(answer["error"]) < 120
    assert unread


def test_a_body_of_a_length_over_the_limit_is_refused_before_it_is_read(ask):
    headers = {"content-length": str(len(PNG))}
    target = "/v1/models/pets/classify"
    assert ask("POST", target, PNG, headers=headers, image_bytes=len(PNG))[0] == 200
    status, answer, unread = ask("POST", target, PNG, headers=headers, image_bytes=len(PNG) - 1)
    assert status == 413
    assert str(len(PNG) - 1) in answer["error"]
    assert unread


def test_a_body_of_no_stated_length_is_refused_once_it_is_over_the_limit(ask):
    status, _, unread = ask(
        "POST", "/v1/models/pets/classify", PNG, pieces=10, image_bytes=len(PNG) // 2
    )
    assert status == 413
    assert len(unread) >= 4


def test_too_many_pixels_are_refused(ask):
    assert ask("POST", "/v1/models/pets/classify", PNG, image_pixels=95)[0] == 413


def test_a_compressed_body_is_refused(ask):
    headers = {"content-encoding": "gzip"}
    status, answer, _ = ask("POST", "/v1/models/pets/classify", PNG, headers=headers)
    assert status == 415
    assert "Content-Encoding" in answer["error"]


@pytest.mark.parametrize(
    ("spec", "target", "status"),
    [
        (served.spec(), "/v1/models/cars/classify", 404),
        (served.spec(preprocessing=None), "/v1/models/pets/classify", 400),
        (served.spec(classes=()), "/v1/models/pets/classify", 400),
    ],
)
def test_a_model_that_will_not_do_is_refused_before_the_body_is_read(ask, spec, target, status):
    found, _, unread = ask("POST", target, PNG, service=served.LinearModels(spec))
    assert found == status
    assert unread


def test_models_that_classify_images_are_listed_with_the_limits(ask):
    vector = replace(served.spec("vector"), preprocessing=None)
    service = served.LinearModels(served.spec(), vector, served.spec("b pets"))
    service.states.append(ModelState("late", "1", "LOADING"))
    service.states.append(ModelState("gone", "1", "READY"))
    status, answer, _ = ask("GET", "/v1/models", service=service)
    assert status == 200
    shape = {"version": "3", "classes": 6, "height": 4, "width": 6}
    assert answer == {
        "models": [{"name": name, **shape} for name in ("b pets", "pets")],
        "not_ready": ["late"],
        "image_bytes": 20_000_000,
        "image_pixels": 25_000_000,
    }
