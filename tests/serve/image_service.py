"""Models that classify images, as a service whose arithmetic is numpy's, and a server around it."""

import contextlib
import hmac
import io
from dataclasses import replace

import numpy as np
from PIL import Image
from serve_http_helpers import run

from nd_deploy.preprocess import Preprocessing
from nd_deploy.serve.exchange import InferResponse, ModelSpec, ModelState, TensorSpec
from nd_deploy.serve.http.app import make_app
from nd_deploy.serve.http.handlers import Extras
from nd_deploy.serve.http.observation import unobserved
from nd_deploy.serve.images.decoder import Decoder
from nd_deploy.serve.images.routes import MODELS_PATH, classify_handler, models_handler
from nd_deploy.serve.page.routes import page_handlers
from nd_deploy.serve.refusal import NOT_FOUND, Refusal

LABELS = ("cat", "dog", "[red]", "bird <b>", "fish", "horse")
PLAIN = Preprocessing("RGB", (4, 6))


def spec(
    name="pets",
    preprocessing=PLAIN,
    labels=LABELS,
    batch=-1,
    datatype="FP32",
    classes=(6,),
):
    height, width = preprocessing.size if preprocessing else (4, 6)
    channels = 1 if preprocessing and preprocessing.mode == "L" else 3
    return ModelSpec(
        name=name,
        version="3",
        inputs=(TensorSpec("image", datatype, (batch, channels, height, width)),),
        outputs=(TensorSpec("logits", datatype, (batch, *classes), len(labels)),),
        max_batch=8 if batch < 0 else 0,
        batching=batch < 0,
        labels=labels,
        preprocessing=preprocessing,
    )


class LinearModels:
    """A service whose models are a product with one matrix each.

    Attributes:
        requests: that came, in order.
    """

    def __init__(self, *specs, scale=1.0):
        self.specs = {each.name: each for each in specs}
        self.requests = []
        self.states = [ModelState(name, "3", "READY") for name in sorted(self.specs)]
        self._scale = scale

    def weight(self, name):
        sizes = self.specs[name].inputs[0].shape[1:]
        classes = self.specs[name].outputs[0].shape[1]
        draw = np.random.default_rng(len(name)).standard_normal((int(np.prod(sizes)), classes))
        return self._scale * draw

    def spec(self, model, version=None):
        if model not in self.specs:
            raise Refusal(NOT_FOUND, "model", f"there is no model {model!r}")
        return self.specs[model]

    def models(self):
        return self.states

    ready = True

    def statistics(self, model=None):
        return []

    async def infer(self, request):
        self.requests.append(request)
        flat = request.inputs["image"].reshape(len(request.inputs["image"]), -1)
        with np.errstate(over="ignore"):
            logits = (flat.astype(np.float64) @ self.weight(request.model)).astype(flat.dtype)
        return InferResponse(self.specs[request.model], request.id, {"logits": logits})


def picture(size=(12, 8), mode="RGB", seed=0):
    """Large areas of random colours, which even a lossy format keeps."""
    draw = np.random.default_rng(seed).integers(0, 256, (2, 3, 3), np.uint8)
    return Image.fromarray(draw).resize(size, Image.Resampling.NEAREST).convert(mode)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def extras(service, settings, decoder):
    """The endpoints for images and the page; the page's files need no token."""

    def guarded(handler):
        async def handle(request):
            shown = request.headers.get("authorization", "")
            if settings.token and not hmac.compare_digest(shown, f"Bearer {settings.token}"):
                raise Refusal(401, "token", "this needs the header Authorization: Bearer")
            return await handler(request)

        return handle

    models = guarded(models_handler(service, settings))
    return Extras(
        classify=guarded(classify_handler(service, settings, decoder)),
        page={**page_handlers(), MODELS_PATH: models},
    )


@contextlib.contextmanager
def serving(service, settings, observe=unobserved):
    """A real server on a free port, ended with the block."""
    decoder = Decoder(settings)
    app = make_app(
        service, replace(settings, token=None), extras(service, settings, decoder), observe
    )
    try:
        with run(app, settings) as running:
            yield running
    finally:
        decoder.close()
