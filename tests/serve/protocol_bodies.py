"""Models as clients see them, and requests to them that the standard library alone writes."""

import json
import struct

import pytest

from nd_deploy.serve.exchange import ModelSpec, TensorSpec
from nd_deploy.serve.protocol.errors import error_body
from nd_deploy.serve.protocol.reading import read_request
from nd_deploy.serve.refusal import Refusal
from nd_deploy.serve.settings import Settings

# struct's letters for the datatypes, little-endian: they know nothing of numpy.
LETTERS = {
    "BOOL": "?",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}


def model(*inputs, outputs=(("logits", "FP32", (-1, 10)),), max_batch=32, labels=()):
    """A model whose inputs and outputs are given as (name, datatype, shape)."""
    return ModelSpec(
        name="demo",
        version="3",
        inputs=tuple(TensorSpec(*port) for port in inputs),
        outputs=tuple(TensorSpec(*port, len(labels)) for port in outputs),
        max_batch=max_batch,
        batching=max_batch > 0,
        labels=tuple(labels),
    )


IMAGES = model(("input", "FP32", (-1, 3, 4, 4)))
IMAGE_VALUES = [value / 8 for value in range(48)]
IMAGE_DATA = struct.pack("<48f", *IMAGE_VALUES)


def image_fields(**changes):
    """The JSON of a valid request to IMAGES, with some of its input's members changed."""
    given = {"name": "input", "datatype": "FP32", "shape": [1, 3, 4, 4], "data": IMAGE_VALUES}
    given.update(changes)
    return {"inputs": [{key: value for key, value in given.items() if value is not None}]}


def image_binary(data=IMAGE_DATA, **changes):
    """A valid binary request to IMAGES, with some of its input's members changed: body, headers."""
    changes.setdefault("parameters", {"binary_data_size": len(data)})
    head = json.dumps(image_fields(data=None, **changes)).encode()
    return head + data, {"inference-header-content-length": str(len(head))}


def packed(datatype, values):
    """Numbers as the binary tensor data extension has them."""
    return struct.pack(f"<{len(values)}{LETTERS[datatype]}", *values)


def refusal(spec, body, headers=(), limits=Settings()):  # noqa: B008 - frozen
    """How a request to a model is refused."""
    with pytest.raises(Refusal) as caught:
        read_request(spec, body, dict(headers), limits)
    return caught.value


def check_refusal(found, status, hint):
    """A refusal has its status, and a short message with the hint, as the body says too."""
    assert found.status == status
    assert hint in found.message
    assert json.loads(error_body(found)) == {"error": found.message}
    assert len(found.message) < 400
