"""From an image in a request to the classes that a model sees in it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nd_deploy.classify import filled_up, likeliest, softmax
from nd_deploy.preprocess import Preprocessing
from nd_deploy.serve.exchange import (
    InferRequest,
    InferResponse,
    ModelSpec,
    OutputWanted,
    Service,
    TensorSpec,
)
from nd_deploy.serve.images.decoder import Decoder
from nd_deploy.serve.protocol.datatypes import numpy_dtype
from nd_deploy.serve.refusal import BAD_REQUEST, DEADLINE_PASSED, UNPROCESSABLE, Refusal
from nd_deploy.serve.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TOP_K = 5


@dataclass(frozen=True)
class ImageClassifier:
    """What of a model matters for classifying an image.

    Attributes:
        input: (N, C, H, W), the only one.
        output: (N, classes), the first.
        preprocessing: how an image becomes the input.
    """

    input: TensorSpec
    output: TensorSpec
    preprocessing: Preprocessing


def image_classifier(spec: ModelSpec) -> ImageClassifier:
    """See a model as one that classifies images.

    Raises:
        Refusal: 400, it reads no image, or gives no score for each class.
    """
    if spec.preprocessing is None or len(spec.inputs) != 1:
        raise _no_classifier(spec, "reads no image")
    if len(spec.outputs[0].shape) != 2:
        raise _no_classifier(spec, "gives no score for each class")
    return ImageClassifier(spec.inputs[0], spec.outputs[0], spec.preprocessing)


async def classify(
    service: Service,
    settings: Settings,
    decoder: Decoder,
    model: str,
    body: bytes,
    top_k: int = TOP_K,
    content_type: str = "",
) -> dict[str, Any]:
    """Classify the image of a request.

    Args:
        service: that runs the model.
        settings: whose deadline holds for decoding and running together.
        decoder: of images.
        model: its name.
        body: an image file, or a form that holds one.
        top_k: how many classes to give; all of them if there are fewer.
        content_type: of the body; it matters for a form alone.

    Returns:
        JSON-ready: "model_name", "model_version", and "predictions" with "index", "label" and
        "score", the softmax of the model's scores, the likeliest first.

    Raises:
        Refusal: as of `Decoder.decode` and `Service.infer`; 400, the model classifies no images, or
            `top_k` is less than 1; 422, the scores are not finite; 504, the deadline passed.
    """
    if top_k < 1:
        raise Refusal(BAD_REQUEST, "top_k", f"top_k is {top_k}, but has to be at least 1")
    clock = asyncio.get_running_loop().time
    end = clock() + settings.deadline
    while True:
        classifier = image_classifier(service.spec(model))
        decoding = decoder.decode(body, content_type, classifier.preprocessing)
        image = await _by_deadline(decoding, end - clock())
        response = await service.infer(_request(model, classifier, image, end - clock()))
        # A reload in between may have changed how an image has to be read.
        if response.spec.preprocessing == classifier.preprocessing:
            return _answer(response, classifier.output.name, top_k)


async def _by_deadline(
    decoding: Coroutine[Any, Any, NDArray[np.float32]], seconds: float
) -> NDArray[np.float32]:
    try:
        return await asyncio.wait_for(decoding, seconds)
    except asyncio.TimeoutError as error:
        message = "the deadline passed while the image was decoded, or waited for that"
        raise Refusal(DEADLINE_PASSED, "deadline", message) from error


def _request(
    model: str, classifier: ImageClassifier, image: NDArray[np.float32], seconds: float
) -> InferRequest:
    port = classifier.input
    values = filled_up(image, max(port.shape[0], 1)).astype(numpy_dtype(port.datatype))
    return InferRequest(
        model=model,
        version=None,
        id=None,
        inputs={port.name: values},
        outputs=(OutputWanted(classifier.output.name),),
        timeout=seconds,
    )


def _answer(response: InferResponse, output: str, top_k: int) -> dict[str, Any]:
    spec = response.spec
    scores = response.outputs[output][0]
    if not _all_finite(scores):
        raise Refusal(
            UNPROCESSABLE,
            "scores not finite",
            f"the scores of model {spec.name!r} for this image are not all finite: see them with "
            f"POST /v2/models/{spec.name}/infer and binary outputs",
        )
    return {
        "model_name": spec.name,
        "model_version": spec.version,
        "predictions": [
            {"index": guess.index, "label": guess.label, "score": guess.probability}
            for guess in likeliest(softmax(scores), spec.labels, top_k)
        ],
    }


def _all_finite(scores: NDArray[Any]) -> bool:
    import numpy as np

    return bool(np.isfinite(scores).all())


def _no_classifier(spec: ModelSpec, problem: str) -> Refusal:
    return Refusal(
        BAD_REQUEST,
        "no image classifier",
        f"model {spec.name!r} {problem}: send tensors to POST /v2/models/{spec.name}/infer",
    )
