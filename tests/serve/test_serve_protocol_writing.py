"""Answers hold exactly what the model gave, in the form that the client asked for."""

import json
import struct
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from protocol_bodies import LETTERS, model, packed

from nd_deploy.serve.exchange import InferRequest, InferResponse, OutputWanted, TensorSpec
from nd_deploy.serve.protocol.answers import answers
from nd_deploy.serve.protocol.classification import class_strings
from nd_deploy.serve.protocol.writing import write_response
from nd_deploy.serve.refusal import Refusal

PROFILE = settings(max_examples=40, deadline=None, derandomize=True)
SPEC = model(("x", "FP32", (-1,)))


def written(outputs, *wanted, name=None, spec=SPEC):
    request = InferRequest("demo", None, name, {}, wanted)
    headers, parts = write_response(InferResponse(spec, name, outputs), request)
    return headers, b"".join(parts)


def in_json(outputs, *wanted, spec=SPEC):
    headers, body = written(outputs, *wanted, spec=spec)
    assert headers == {"content-type": "application/json"}
    return json.loads(body, parse_constant=pytest.fail)["outputs"]


SHAPES = arrays.array_shapes(max_dims=3, max_side=4)
FINITE = {"allow_nan": False, "allow_infinity": False}


def arrays_of(datatypes, **elements):
    def of(datatype):
        dtype = np.dtype(LETTERS[datatype])
        options = elements if dtype.kind == "f" else {}
        return st.tuples(st.just(datatype), arrays.arrays(dtype, SHAPES, elements=options or None))

    return st.sampled_from(sorted(datatypes)).flatmap(of)


@PROFILE
@given(arrays_of(LETTERS.keys() - {"FP16"}, **FINITE))
def test_json_holds_every_value_exactly(output):
    datatype, array = output
    (found,) = in_json({"y": array})
    assert (found["name"], found["datatype"]) == ("y", datatype)
    assert found["shape"] == list(array.shape)
    # struct rounds to the datatype as the client does.
    assert packed(datatype, found["data"]) == packed(datatype, array.reshape(-1).tolist())


@PROFILE
@given(arrays_of(LETTERS.keys()), st.booleans())
def test_binary_data_holds_every_bit(output, transposed):
    datatype, array = output
    array = array.T if transposed else array
    headers, body = written({"y": array}, OutputWanted("y", binary=True))
    length = int(headers["inference-header-content-length"])
    assert headers["content-type"] == "application/octet-stream"
    (found,) = json.loads(body[:length])["outputs"]
    assert found["datatype"] == datatype
    assert found["shape"] == list(array.shape)
    assert "data" not in found
    assert body[length:] == array.tobytes()
    assert found["parameters"]["binary_data_size"] == len(body) - length


def test_answers_name_the_request_and_the_model():
    _, body = written({"y": np.zeros(1, np.float32)}, name="7\n")
    fields = json.loads(body)
    assert fields["id"] == "7\n"
    assert (fields["model_name"], fields["model_version"]) == ("demo", "3")
    assert "id" not in json.loads(written({"y": np.zeros(1, np.float32)})[1])


def test_outputs_come_in_the_order_wanted_and_binary_data_in_theirs():
    outputs = {
        name: np.array([value], np.uint8) for name, value in zip("abc", (1, 2, 3), strict=True)
    }
    wanted = [OutputWanted("c", binary=True), OutputWanted("b"), OutputWanted("a", binary=True)]
    headers, body = written(outputs, *wanted)
    length = int(headers["inference-header-content-length"])
    assert [output["name"] for output in json.loads(body[:length])["outputs"]] == ["c", "b", "a"]
    assert body[length:] == b"\x03\x01"


def test_large_binary_outputs_are_not_copied():
    array = np.arange(6000, dtype=np.float32).reshape(2, 3000)
    request = InferRequest("demo", None, None, {}, (OutputWanted("y", binary=True),))
    _, parts = write_response(InferResponse(SPEC, None, {"y": array}), request)
    assert np.shares_memory(np.frombuffer(parts[1], np.uint8), array)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_outputs_may_be_empty(shape):
    array = np.zeros(shape, np.float32)
    wanted = [OutputWanted("a"), OutputWanted("b", binary=True), OutputWanted("c", classes=2)]
    headers, body = written(dict.fromkeys("abc", array), *wanted)
    assert len(body) == int(headers["inference-header-content-length"])
    flat, binary, classes = json.loads(body)["outputs"]
    assert (flat["shape"], flat["data"]) == (list(shape), [])
    assert (binary["shape"], binary["parameters"]) == (list(shape), {"binary_data_size": 0})
    assert (classes["shape"], classes["data"]) == ([shape[0], min(shape[1], 2)], [])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_json_has_no_word_for_is_not_written_as_another(value):
    array = np.array([1, value], np.float32)
    with pytest.raises(Refusal, match="binary_data") as refusal:
        written({"y": array})
    assert refusal.value.status == 422
    assert written({"y": array}, OutputWanted("y", binary=True))[1].endswith(array.tobytes())


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_narrow_floats_are_given_as_binary_data_only(dtype):
    array = np.array([[1.5, -2]], dtype)
    with pytest.raises(Refusal, match="binary_data") as refusal:
        written({"y": array})
    assert refusal.value.status == 422
    assert written({"y": array}, OutputWanted("y", binary=True))[1].endswith(array.tobytes())


LABELS = ("cat", "dog", "fish:er", "cow")
LABELLED = model(("x", "FP32", (-1,)), outputs=(("y", "FP32", (-1, 4)),), labels=LABELS)


def test_classes_are_the_largest_values_with_their_labels():
    scores = np.array([[1, 10, 5, 4], [0.25, -1, 0.5, 0.1]], np.float32)
    (found,) = in_json({"y": scores}, OutputWanted("y", classes=2), spec=LABELLED)
    assert found["datatype"] == "BYTES"
    assert found["shape"] == [2, 2]
    assert found["data"] == [
        "10.000000:1:dog",
        "5.000000:2:fish:er",
        "0.500000:2:fish:er",
        "0.250000:0:cat",
    ]


def test_classes_come_as_binary_data_with_their_lengths():
    scores = np.array([[3, 1, 2, 0]], np.float32)
    headers, body = written({"y": scores}, OutputWanted("y", True, 1), spec=LABELLED)
    text = b"3.000000:0:cat"
    length = int(headers["inference-header-content-length"])
    assert body[length:] == struct.pack("<I", len(text)) + text


def test_outputs_without_labels_have_classes_without_labels():
    ports = (TensorSpec("y", "FP16", (-1, 2)), TensorSpec("z", "FP16", (-1, 2), 2))
    spec = replace(SPEC, outputs=ports, labels=("cat", "dog"))
    scores = np.array([[1.5, 2]], np.float16)
    wanted = (OutputWanted("y", classes=9), OutputWanted("z", classes=9))
    without, labelled = in_json({"y": scores, "z": scores}, *wanted, spec=spec)
    assert without["data"] == ["2.000000:1", "1.500000:0"]
    assert labelled["data"] == ["2.000000:1:dog", "1.500000:0:cat"]


def test_whole_numbers_are_written_whole():
    scores = np.array([[-128, 127, 0]], np.int8)
    assert class_strings(scores, 3).tolist() == [[b"127:1", b"0:2", b"-128:0"]]
    scores = np.array([[0, 2**64 - 1]], np.uint64)
    assert class_strings(scores, 1).tolist() == [[b"18446744073709551615:1"]]


def test_of_equal_values_the_first_comes_first_and_nan_last():
    scores = np.array([[2, float("nan"), 7, 7, float("inf"), 2]], np.float64)
    indices = [int(item.split(b":")[1]) for item in class_strings(scores, 6)[0]]
    assert indices == [4, 2, 3, 0, 5, 1]
    equal = class_strings(np.tile(np.float32([[1, 0]]), 250), 500)[0]
    indices = [int(item.split(b":")[1]) for item in equal]
    assert indices == [*range(0, 500, 2), *range(1, 500, 2)]


@PROFILE
@given(arrays_of(LETTERS.keys() - {"BOOL"}, **FINITE), st.integers(1, 9))
def test_classes_are_in_the_order_of_a_sort(output, count):
    _, array = output
    rows = [np.ravel(row).tolist() for row in array]
    expected = [
        sorted(range(len(row)), key=lambda index: (-row[index], index))[:count] for row in rows
    ]
    found = class_strings(array, count)
    assert [[int(item.split(b":")[1]) for item in row] for row in found.tolist()] == expected


def test_labels_that_are_no_unicode_do_no_harm():
    assert class_strings(np.array([[1.0]]), 1, ["\ud800"]).tolist() == [[b"1.000000:0:?"]]


def test_a_million_classes_are_refused():
    scores = np.broadcast_to(np.float32(0), (32, 40_000))
    with pytest.raises(Refusal, match="classes") as refusal:
        class_strings(scores, 40_000)
    assert refusal.value.status == 400


def test_answers_are_the_same_for_every_carrier():
    scores = np.array([[3, 1, 2, 0]], np.float32)
    wanted = (OutputWanted("y", classes=1), OutputWanted("y"))
    request = InferRequest("demo", None, None, {}, wanted)
    classes, whole = answers(InferResponse(LABELLED, None, {"y": scores}), request)
    assert (classes.datatype, classes.values.shape) == ("BYTES", (1, 1))
    assert (whole.datatype, bytes(whole.data())) == ("FP32", scores.tobytes())
