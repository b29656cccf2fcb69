"""tritonclient's own requests are read, and it reads the answers."""

import gzip

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from protocol_bodies import LETTERS, model
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from nd_deploy.serve.exchange import InferResponse
from nd_deploy.serve.protocol.compression import compressed
from nd_deploy.serve.protocol.reading import read_request
from nd_deploy.serve.protocol.writing import write_response
from nd_deploy.serve.settings import Settings

PROFILE = settings(max_examples=40, deadline=None, derandomize=True)
LABELS = ("cat", "dog", "cow")


def exchange(spec, inputs, given, wanted=None, encoding=None, **options):
    """A request as the client makes it, and an answer as the client reads it."""
    body, length = InferenceServerClient.generate_request_body(inputs, outputs=wanted, **options)
    headers = {} if length is None else {"inference-header-content-length": str(length)}
    request = read_request(spec, body, headers, Settings())
    headers, parts = write_response(InferResponse(spec, request.id, given), request)
    body = compressed(parts, encoding) or b"".join(parts)
    header_length = headers.get("inference-header-content-length")
    read = InferenceServerClient.parse_response_body(
        body, header_length=header_length, content_encoding=encoding
    )
    return request, read


@st.composite
def tensors(draw, datatypes):
    datatype = draw(st.sampled_from(sorted(datatypes)))
    dtype = np.dtype(LETTERS[datatype])
    finite = {"allow_nan": False, "allow_infinity": False} if dtype.kind == "f" else None
    shape = draw(arrays.array_shapes(max_dims=3, max_side=4))
    return datatype, draw(arrays.arrays(dtype, shape, elements=finite))


@PROFILE
@given(tensors(LETTERS), st.booleans(), st.booleans(), st.integers(0, 10**7))
def test_tensors_go_there_and_back_unchanged(tensor, binary_there, binary_back, timeout):
    datatype, array = tensor
    binary_there = binary_there or datatype == "FP16"
    binary_back = binary_back or datatype == "FP16"
    shape = (-1, *array.shape[1:])
    spec = model(("x", datatype, shape), outputs=(("y", datatype, shape),))
    sent = InferInput("x", list(array.shape), datatype)
    sent.set_data_from_numpy(array, binary_data=binary_there)
    wanted = [InferRequestedOutput("y", binary_data=binary_back)]
    request, read = exchange(
        spec, [sent], {"y": array}, wanted, request_id="9", timeout=timeout, priority=1
    )
    np.testing.assert_array_equal(request.inputs["x"], array, strict=True)
    np.testing.assert_array_equal(read.as_numpy("y"), array, strict=True)
    assert read.get_response()["id"] == "9"
    assert (request.timeout or 0) * 1e6 == pytest.approx(timeout)


def test_bfloat16_goes_there_and_back():
    array = np.array([[1.5, -3]], ml_dtypes.bfloat16)
    spec = model(("x", "BF16", (-1, 2)), outputs=(("y", "BF16", (-1, 2)),))
    sent = InferInput("x", [1, 2], "BF16")
    sent.set_data_from_numpy(array)
    request, read = exchange(spec, [sent], {"y": array})
    assert request.inputs["x"].tolist() == array.tolist()
    assert read.as_numpy("y").tolist() == array.tolist()


def as_text(item):
    return item.decode() if isinstance(item, bytes) else item


@pytest.mark.parametrize("binary", [True, False])
def test_classes_are_read_by_the_client(binary):
    spec = model(("x", "FP32", (-1, 2)), outputs=(("y", "FP32", (-1, 3)),), labels=LABELS)
    sent = InferInput("x", [2, 2], "FP32")
    sent.set_data_from_numpy(np.zeros((2, 2), np.float32))
    wanted = [InferRequestedOutput("y", binary_data=binary, class_count=2)]
    scores = np.array([[1, 2, 3], [3, 2, 1]], np.float32)
    _, read = exchange(spec, [sent], {"y": scores}, wanted)
    found = [[as_text(item) for item in row] for row in read.as_numpy("y")]
    assert found == [
        ["3.000000:2:cow", "2.000000:1:dog"],
        ["3.000000:0:cat", "2.000000:1:dog"],
    ]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_answers_are_read_by_the_client(encoding):
    array = np.zeros((4, 1000), np.float32)
    spec = model(("x", "FP32", (-1, 1)), outputs=(("y", "FP32", (-1, 1000)),))
    sent = InferInput("x", [4, 1], "FP32")
    sent.set_data_from_numpy(np.zeros((4, 1), np.float32))
    _, read = exchange(spec, [sent], {"y": array}, encoding=encoding)
    np.testing.assert_array_equal(read.as_numpy("y"), array, strict=True)


def test_compressed_requests_of_the_client_are_read():
    sent = InferInput("x", [1, 8], "FP32")
    sent.set_data_from_numpy(np.arange(8, dtype=np.float32).reshape(1, 8))
    body, length = InferenceServerClient.generate_request_body([sent])
    headers = {"inference-header-content-length": str(length), "content-encoding": "gzip"}
    spec = model(("x", "FP32", (-1, 8)), outputs=(("y", "FP32", (-1, 8)),))
    request = read_request(spec, gzip.compress(body), headers, Settings())
    assert request.inputs["x"].tolist() == [list(range(8))]
