"""Handlers of the endpoints for images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nd_deploy.serve.exchange import Service
from nd_deploy.serve.http.answers import json_response
from nd_deploy.serve.http.body import read_body
from nd_deploy.serve.images.classification import TOP_K, classify, image_classifier
from nd_deploy.serve.images.decoder import Decoder
from nd_deploy.serve.images.multipart import FRAMING, is_multipart
from nd_deploy.serve.refusal import BAD_REQUEST, UNSUPPORTED_ENCODING, Refusal
from nd_deploy.serve.settings import Settings

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from nd_deploy.serve.http.handlers import Handler

MODELS_PATH = "/v1/models"
"""Where the page learns which models classify images."""

_WHOLE_NUMBER = re.compile(r"[0-9]{1,6}")


def classify_handler(service: Service, settings: Settings, decoder: Decoder) -> Handler:
    """The handler of POST /v1/models/{model}/classify?top_k=5."""

    async def handle(request: Request) -> Response:
        model = request.path_params["model"]
        top_k = parse_top_k(request.query_params.multi_items())
        _refuse_encoding(request.headers.get("content-encoding", "identity"))
        image_classifier(service.spec(model))
        content_type = request.headers.get("content-type", "")
        limit = settings.image_bytes + (FRAMING if is_multipart(content_type) else 0)
        body = await read_body(request, limit)
        return json_response(
            await classify(service, settings, decoder, model, body, top_k, content_type)
        )

    return handle


def models_handler(service: Service, settings: Settings) -> Handler:
    """The handler of GET /v1/models: which models classify images, and how large those may be."""

    async def handle(request: Request) -> Response:
        return json_response(describe_models(service, settings))

    return handle


def describe_models(service: Service, settings: Settings) -> dict[str, Any]:
    """Which models classify images.

    Returns:
        JSON-ready: "models" with "name", "version", "classes", "height" and "width"; "not_ready",
        names of models that cannot be asked now; "image_bytes" and "image_pixels", the limits.
    """
    models, not_ready = [], []
    for state in service.models():
        if state.state != "READY":
            not_ready.append(state.name)
            continue
        described = _describe(service, state.name)
        if described is not None:
            models.append(described)
    return {
        "models": models,
        "not_ready": not_ready,
        "image_bytes": settings.image_bytes,
        "image_pixels": settings.image_pixels,
    }


def parse_top_k(query: Sequence[tuple[str, str]]) -> int:
    """How many classes are asked for.

    Args:
        query: names and values of the request's query, as they stand in it.

    Raises:
        Refusal: 400, there is another parameter, or it is no whole number from 1 on.
    """
    for name, _ in query:
        if name != "top_k":
            message = f"there is no parameter {name[:40]!r} here: give top_k or none"
            raise Refusal(BAD_REQUEST, "query", message)
    if not query:
        return TOP_K
    value = query[0][1]
    if len(query) > 1 or not _WHOLE_NUMBER.fullmatch(value) or int(value) < 1:
        message = "top_k has to be one whole number from 1 to 999999"
        raise Refusal(BAD_REQUEST, "top_k", message)
    return int(value)


def _describe(service: Service, model: str) -> dict[str, Any] | None:
    try:
        spec = service.spec(model)
        classifier = image_classifier(spec)
    except Refusal:
        return None
    height, width = classifier.preprocessing.size
    return {
        "name": spec.name,
        "version": spec.version,
        "classes": classifier.output.shape[1],
        "height": height,
        "width": width,
    }


def _refuse_encoding(encoding: str) -> None:
    if encoding.strip().lower() != "identity":
        message = "images are compressed already: send the file without a Content-Encoding"
        raise Refusal(UNSUPPORTED_ENCODING, "content encoding", message)
