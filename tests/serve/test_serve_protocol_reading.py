"""Requests that are well formed become the tensors that their clients meant."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_bodies import (
    IMAGE_VALUES,
    IMAGES,
    LETTERS,
    image_binary,
    image_fields,
    model,
    packed,
)

from nd_deploy.serve.exchange import OutputWanted
from nd_deploy.serve.protocol.fields import InputFields, OutputFields, RequestFields
from nd_deploy.serve.protocol.reading import infer_request, read_request
from nd_deploy.serve.settings import Settings

PROFILE = settings(max_examples=40, deadline=None, derandomize=True)
DEFAULTS = Settings()
IN_JSON = sorted(LETTERS.keys() - {"FP16"})


def read(spec, body, headers=(), limits=DEFAULTS, version=None):
    if isinstance(body, dict):
        body = json.dumps(body).encode()
    return read_request(spec, body, dict(headers), limits, version)


def numbers_of(datatype):
    if datatype == "BOOL":
        return st.booleans()
    if datatype in ("FP16", "FP32", "FP64"):
        width = int(datatype[2:])
        return st.floats(width=width, allow_nan=False, allow_infinity=False)
    bits = int(datatype.lstrip("UINT"))
    if datatype.startswith("U"):
        return st.integers(0, 2**bits - 1)
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


@st.composite
def tensors(draw, datatypes):
    datatype = draw(st.sampled_from(datatypes))
    shape = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    count = int(np.prod(shape))
    return datatype, shape, draw(st.lists(numbers_of(datatype), min_size=count, max_size=count))


def nested(values, shape):
    if len(shape) == 1:
        return values
    step = len(values) // shape[0]
    return [nested(values[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


def check(array, datatype, shape, values):
    assert list(array.shape) == shape
    assert array.tobytes() == packed(datatype, values)
    assert array.dtype.str.lstrip("<|=") == np.dtype(LETTERS[datatype]).str.lstrip("<|=")


def model_of(datatype, shape):
    return model(("x", datatype, (-1, *shape[1:])))


@PROFILE
@given(tensors(IN_JSON), st.booleans())
def test_json_gives_the_values_that_were_written_flat_or_nested(tensor, is_nested):
    datatype, shape, values = tensor
    data = nested(values, shape) if is_nested else values
    body = {"inputs": [{"name": "x", "datatype": datatype, "shape": shape, "data": data}]}
    check(read(model_of(datatype, shape), body).inputs["x"], datatype, shape, values)


@PROFILE
@given(tensors(sorted(LETTERS)), st.text(max_size=7))
def test_binary_data_gives_the_same_bytes_at_whatever_offset(tensor, name):
    datatype, shape, values = tensor
    data = packed(datatype, values)
    described = {"name": "x", "datatype": datatype, "shape": shape}
    described["parameters"] = {"binary_data_size": len(data)}
    head = json.dumps({"id": name, "inputs": [described]}).encode()
    headers = {"inference-header-content-length": str(len(head))}
    request = read(model_of(datatype, shape), head + data, headers)
    check(request.inputs["x"], datatype, shape, values)
    assert request.inputs["x"].flags.aligned
    assert request.id == (name or None)


def test_aligned_data_is_not_copied():
    body, headers = image_binary()
    spaces = -int(headers["inference-header-content-length"]) % 4
    body = b" " * spaces + body
    headers = {
        "inference-header-content-length": str(
            spaces + int(headers["inference-header-content-length"])
        )
    }
    array = read(IMAGES, body, headers).inputs["input"]
    assert np.shares_memory(array, np.frombuffer(body, np.uint8))


def test_binary_and_json_inputs_may_be_mixed_in_any_order():
    spec = model(("a", "INT32", (-1, 2)), ("b", "FP32", (-1, 1)), ("c", "BOOL", (-1,)))
    inputs = [
        {"name": "c", "datatype": "BOOL", "shape": [1], "parameters": {"binary_data_size": 1}},
        {"name": "b", "datatype": "FP32", "shape": [1, 1], "data": [0.5]},
        {"name": "a", "datatype": "INT32", "shape": [1, 2], "parameters": {"binary_data_size": 8}},
    ]
    head = json.dumps({"inputs": inputs}).encode()
    body = head + b"\x01" + struct.pack("<2i", 7, -7)
    request = read(spec, body, {"inference-header-content-length": str(len(head))})
    assert {name: array.tolist() for name, array in request.inputs.items()} == {
        "a": [[7, -7]],
        "b": [[0.5]],
        "c": [True],
    }
    assert list(request.inputs) == ["a", "b", "c"]


def test_bfloat16_comes_as_binary_data():
    spec = model(("x", "BF16", (-1, 2)), outputs=(("y", "BF16", (-1, 2)),))
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "datatype": "BF16",
                    "shape": [1, 2],
                    "parameters": {"binary_data_size": 4},
                }
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    # The upper half of a float32.
    data = struct.pack("<f", 1.5)[2:] + struct.pack("<f", -3.0)[2:]
    request = read(spec, head + data, {"inference-header-content-length": str(len(head))})
    assert request.inputs["x"].astype(np.float32).tolist() == [[1.5, -3.0]]


def test_bytes_alone_are_a_batch_of_one_and_are_answered_in_binary():
    request = read(
        IMAGES, struct.pack("<48f", *IMAGE_VALUES), {"inference-header-content-length": "0"}
    )
    assert request.inputs["input"].shape == (1, 3, 4, 4)
    assert request.inputs["input"].reshape(-1).tolist() == IMAGE_VALUES
    assert request.outputs == (OutputWanted("logits", binary=True),)


def test_bytes_alone_fill_one_open_size():
    spec = model(("x", "INT16", (-1, 2, -1)))
    request = read(spec, struct.pack("<6h", *range(6)), {"inference-header-content-length": "0"})
    assert request.inputs["x"].tolist() == [[[0, 1, 2], [3, 4, 5]]]


def test_an_open_size_takes_any():
    spec = model(("x", "FP32", (-1, -1)))
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 3], "data": [1] * 6}]}
    assert read(spec, body).inputs["x"].shape == (2, 3)


def test_the_largest_batch_may_have_a_list_around_every_number():
    spec = model(("x", "UINT8", (-1, 4000, 1, 1)), max_batch=3)
    data = nested([1] * 12_000, [3, 4000, 1, 1])
    body = {"inputs": [{"name": "x", "datatype": "UINT8", "shape": [3, 4000, 1, 1], "data": data}]}
    assert read(spec, body).inputs["x"].sum() == 12_000


def test_a_scalar_has_an_empty_shape():
    spec = model(("x", "FP32", ()), max_batch=0)
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [], "data": [2]}]}
    assert read(spec, body).inputs["x"].shape == ()


def test_names_and_times_are_kept():
    body = image_fields() | {"id": "a\u00e9", "parameters": {"timeout": 2_500_000, "priority": 3}}
    request = read(IMAGES, body, version="3")
    assert (request.model, request.version, request.id) == ("demo", "3", "a\u00e9")
    assert request.timeout == pytest.approx(2.5)


def test_what_is_not_given_is_none():
    request = read(IMAGES, image_fields() | {"parameters": {"timeout": 0, "sequence_id": 0}})
    assert (request.version, request.id, request.timeout) == (None, None, None)


def test_what_perf_analyzer_asks_of_streams_has_no_effect():
    parameters = {"triton_enable_empty_final_response": True}
    request = read(IMAGES, image_fields() | {"parameters": parameters})
    assert [output.name for output in request.outputs] == ["logits"]


def test_the_model_named_in_the_body_does_not_matter():
    """KServe's client names it, as an example of Triton's does."""
    assert read(IMAGES, image_fields() | {"model_name": "x", "model_version": "9"}).model == "demo"


TWO = model(("input", "FP32", (-1, 3, 4, 4)), outputs=(("p", "FP32", (-1,)), ("q", "FP32", (-1,))))


@pytest.mark.parametrize(
    ("outputs", "parameters", "wanted"),
    [
        (None, {}, [("p", False, 0), ("q", False, 0)]),
        ([], {"binary_data_output": True}, [("p", True, 0), ("q", True, 0)]),
        ([("q", {})], {}, [("q", False, 0)]),
        ([("q", {"binary_data": True}), ("p", {})], {}, [("q", True, 0), ("p", False, 0)]),
        (
            [("q", {"binary_data": False}), ("p", {})],
            {"binary_data_output": True},
            [("q", False, 0), ("p", True, 0)],
        ),
        ([("p", {"classification": 3})], {}, [("p", False, 3)]),
    ],
)
def test_outputs_are_those_wanted_as_they_are_wanted(outputs, parameters, wanted):
    body = image_fields() | {"parameters": parameters}
    if outputs is not None:
        body["outputs"] = [{"name": name, "parameters": given} for name, given in outputs]
    assert read(TWO, body).outputs == tuple(OutputWanted(*output) for output in wanted)


def test_non_finite_data_is_taken_where_the_operator_says_so():
    body, headers = image_binary(struct.pack("<48f", *[float("inf")] * 48))
    limits = Settings(allow_nonfinite=True)
    assert np.isinf(read(IMAGES, body, headers, limits).inputs["input"]).all()


def test_fields_of_another_carrier_are_read_alike():
    fields = RequestFields(
        id="7",
        inputs=(InputFields("input", "FP32", (1, 3, 4, 4), values=IMAGE_VALUES),),
        outputs=(OutputFields("logits", {"classification": 2}),),
        parameters={"timeout": 1000},
    )
    request = infer_request(IMAGES, fields, DEFAULTS)
    assert request.inputs["input"].reshape(-1).tolist() == IMAGE_VALUES
    assert request.outputs == (OutputWanted("logits", classes=2),)
    assert request.timeout == pytest.approx(0.001)
