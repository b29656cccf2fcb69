"""Requests that do not fit their model are refused, with the hint that their client needs."""

import json

import pytest
from protocol_bodies import IMAGE_VALUES, IMAGES, check_refusal, image_fields, model, refusal

from nd_deploy.serve.protocol.fields import InputFields, RequestFields
from nd_deploy.serve.protocol.reading import infer_request
from nd_deploy.serve.refusal import Refusal
from nd_deploy.serve.settings import Settings

VALID = json.dumps(image_fields()).encode()
NAN = float("nan")


def with_first(value):
    return image_fields(data=[value, *IMAGE_VALUES[1:]])


def wanting(*outputs):
    return image_fields() | {"outputs": list(outputs)}


def of_batch(size):
    return image_fields(shape=[size, 3, 4, 4], data=[0] * (48 * size))


REQUESTS = {
    "wrong size": (image_fields(shape=[1, 3, 4, 5], data=[0] * 60), "shape [1, 3, 4, 5]"),
    "wrong rank": (image_fields(shape=[1, 48]), "takes [-1, 3, 4, 4]"),
    "no batch": (image_fields(shape=[3, 4, 4]), "takes [-1, 3, 4, 4]"),
    "too few values": (image_fields(data=IMAGE_VALUES[:-1]), "47 values"),
    "too many values": (image_fields(data=[*IMAGE_VALUES, 1]), "49 values"),
    "no values": (image_fields(data=[]), "0 values"),
    "ragged": (image_fields(shape=[2, 3, 4, 4], data=[[0] * 48, [0] * 47]), "nested otherwise"),
    "uneven": (
        image_fields(shape=[2, 3, 4, 4], data=[[[0] * 16] * 4, [[0] * 16] * 2]),
        "nested otherwise",
    ),
    "partly nested": (image_fields(shape=[2, 3, 4, 4], data=[[0] * 48] * 2), "nested otherwise"),
    "nested too deep": (image_fields(data=[[[[[0]] * 4] * 4] * 3]), "0"),
    "wrong datatype": (image_fields(datatype="FP64"), "takes FP32"),
    "datatype in lower case": (image_fields(datatype="fp32"), "takes FP32"),
    "no such datatype": (image_fields(datatype="FLOAT"), "takes FP32"),
    "datatype of text": (image_fields(datatype="BYTES", data=["a"] * 48), "takes FP32"),
    "datatype is a number": (image_fields(datatype=1), "the datatype"),
    "no datatype": (image_fields(datatype=None), "the datatype"),
    "no shape": (image_fields(shape=None), "the shape"),
    "shape is a number": (image_fields(shape=48), "no list of sizes"),
    "size is a float": (image_fields(shape=[1.0, 3, 4, 4]), "no size"),
    "size is a boolean": (image_fields(shape=[True, 3, 4, 4]), "no size"),
    "size is text": (image_fields(shape=["1", 3, 4, 4]), "no size"),
    "negative size": (image_fields(shape=[-1, 3, 4, 4]), "no size"),
    "two negative sizes": (image_fields(shape=[-1, -3, 4, 4]), "no size"),
    "batch 0": (image_fields(shape=[0, 3, 4, 4], data=[]), "no size"),
    "batch over the largest": (of_batch(33), "at most 32"),
    "batch of many more": (of_batch(320), "largest batch is 32"),
    "huge shape": (image_fields(shape=[10**9, 3, 4, 4]), "at most 32"),
    "a size that no integer holds": (image_fields(shape=[10**30, 3, 4, 4]), "no size"),
    "boolean for a number": (with_first(True), "True"),
    "null for a number": (with_first(None), "None"),
    "text for a number": (with_first("1.5"), "'1.5'"),
    "object for a number": (with_first({}), "{}"),
    "list for a number": (with_first([1]), "nested otherwise"),
    "list behind a number": (image_fields(data=[*IMAGE_VALUES[1:], [1]]), "[1]"),
    "number beyond the datatype": (with_first(1e39), "beyond FP32"),
    "data is an object": (image_fields(data={"a": 1}), "no list"),
    "data is text": (image_fields(data="AAAA"), "no list"),
    "no data": (image_fields(data=None), "one of data and binary_data_size"),
    "data twice": (
        image_fields(parameters={"binary_data_size": 0}),
        "one of data and binary_data_size",
    ),
    "unknown input": (image_fields(name="x"), "no input 'x'; the model takes 'input'"),
    "input without a name": (image_fields(name=None), "an input's name"),
    "input is no object": ({"inputs": [1]}, "no JSON object"),
    "no inputs": ({"inputs": []}, "input 'input' is missing"),
    "nothing": ({}, "input 'input' is missing"),
    "inputs are an object": ({"inputs": {}}, "no list"),
    "input twice": ({"inputs": image_fields()["inputs"] * 2}, "twice"),
    "unknown output": (wanting({"name": "x"}), "no output 'x'; the model has 'logits'"),
    "output without a name": (wanting({}), "an output's name"),
    "output twice": (wanting({"name": "logits"}, {"name": "logits"}), "twice"),
    "outputs are text": (image_fields() | {"outputs": "logits"}, "no list"),
    "classification of a fraction": (
        wanting({"name": "logits", "parameters": {"classification": 1.5}}),
        "classification",
    ),
    "negative classification": (
        wanting({"name": "logits", "parameters": {"classification": -1}}),
        "classification",
    ),
    "binary_data of a number": (
        wanting({"name": "logits", "parameters": {"binary_data": 1}}),
        "binary_data",
    ),
    "unknown parameter of an output": (
        wanting({"name": "logits", "parameters": {"binary": True}}),
        "unknown parameter 'binary'",
    ),
    "output to shared memory": (
        wanting({"name": "logits", "parameters": {"shared_memory_region": "r"}}),
        "shared memory",
    ),
    "input in shared memory": (
        image_fields(data=None, parameters={"shared_memory_region": "r"}),
        "shared memory",
    ),
    "unknown parameter of an input": (
        image_fields(parameters={"content_type": "np"}),
        "unknown parameter 'content_type'",
    ),
    "unknown parameter": (image_fields() | {"parameters": {"a": 1}}, "unknown parameter 'a'"),
    "parameters are a list": (image_fields() | {"parameters": []}, "no JSON object"),
    "parameter is a list": (image_fields() | {"parameters": {"timeout": [1]}}, "timeout"),
    "negative timeout": (image_fields() | {"parameters": {"timeout": -1}}, "timeout"),
    "timeout of text": (image_fields() | {"parameters": {"timeout": "1"}}, "timeout"),
    "timeout is a boolean": (image_fields() | {"parameters": {"timeout": True}}, "timeout"),
    "a final answer of 1": (
        image_fields() | {"parameters": {"triton_enable_empty_final_response": 1}},
        "neither true nor false",
    ),
    "priority of text": (image_fields() | {"parameters": {"priority": "high"}}, "priority"),
    "sequence": (image_fields() | {"parameters": {"sequence_id": 5}}, "sequences"),
    "start of a sequence": (image_fields() | {"parameters": {"sequence_start": True}}, "sequences"),
    "binary_data_output of a number": (
        image_fields() | {"parameters": {"binary_data_output": 1}},
        "binary_data_output",
    ),
    "id is a number": (image_fields() | {"id": 1}, "id"),
    "id is an object": (image_fields() | {"id": {}}, "id"),
    "id is long": (image_fields() | {"id": "a" * 1025}, "id"),
    "unknown member": (image_fields() | {"input": []}, "member 'input'"),
    "unknown member of an input": (image_fields(dtype="FP32"), "member 'dtype'"),
    "a list": ([], "no JSON object"),
    "a number": (1, "no JSON object"),
    "null": (None, "no JSON object"),
    "shallow at last": ({"inputs": [[[[]]]]}, "no JSON object"),
}


@pytest.mark.parametrize(("fields", "hint"), REQUESTS.values(), ids=REQUESTS.keys())
def test_json_that_is_no_request_of_the_model(fields, hint):
    check_refusal(refusal(IMAGES, json.dumps(fields).encode()), 400, hint)


@pytest.mark.parametrize(
    ("datatype", "value", "hint"),
    [
        ("INT32", 1.0, "whole numbers"),
        ("INT32", 1.5, "whole numbers"),
        ("INT32", True, "whole numbers"),
        ("INT32", 2**31, "beyond INT32"),
        ("INT32", -(2**31) - 1, "beyond INT32"),
        ("INT64", 2**63, "beyond INT64"),
        ("INT64", 2**64, "whole numbers"),
        ("UINT8", -1, "beyond UINT8"),
        ("UINT8", 256, "beyond UINT8"),
        ("UINT64", -1, "beyond UINT64"),
        ("UINT64", 2**64, "whole numbers"),
        ("BOOL", 1, "true and false"),
        ("BOOL", "true", "true and false"),
        ("FP16", 1.0, "binary data only"),
        ("BF16", 1.0, "binary data only"),
        ("FP64", True, "numbers"),
    ],
)
def test_values_that_a_datatype_does_not_hold_exactly(datatype, value, hint):
    spec = model(("x", datatype, (-1,)))
    body = {"inputs": [{"name": "x", "datatype": datatype, "shape": [1], "data": [value]}]}
    check_refusal(refusal(spec, json.dumps(body).encode()), 400, hint)


def test_an_input_that_is_missing_is_named():
    spec = model(("a", "FP32", (-1,)), ("b", "FP32", (-1,)))
    body = {"inputs": [{"name": "a", "datatype": "FP32", "shape": [1], "data": [1]}]}
    check_refusal(refusal(spec, json.dumps(body).encode()), 400, "'b' is missing")


def test_rows_of_different_lengths_do_not_make_up_for_each_other():
    spec = model(("x", "FP32", (-1, 2)))
    body = {
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [[1, 2, 3], [4]]},
        ]
    }
    check_refusal(refusal(spec, json.dumps(body).encode()), 400, "nested otherwise")


def test_a_scalar_is_no_list():
    spec = model(("x", "FP32", ()), max_batch=0)
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [], "data": [[1]]}]}
    check_refusal(refusal(spec, json.dumps(body).encode()), 400, "nested otherwise")


def test_inputs_of_different_batches():
    spec = model(("a", "FP32", (-1,)), ("b", "FP32", (-1,)))
    inputs = [
        {"name": name, "datatype": "FP32", "shape": [size], "data": [1] * size}
        for name, size in (("a", 1), ("b", 2))
    ]
    check_refusal(
        refusal(spec, json.dumps({"inputs": inputs}).encode()), 400, "different sizes: [1, 2]"
    )


def test_a_fixed_batch_takes_no_other():
    spec = model(("input", "FP32", (1, 3, 4, 4)), max_batch=0)
    check_refusal(refusal(spec, json.dumps(of_batch(2)).encode()), 400, "takes [1, 3, 4, 4]")


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_outputs_without_a_form_in_json_are_refused_before_they_are_computed(datatype):
    spec = model(("input", "FP32", (-1, 3, 4, 4)), outputs=(("y", datatype, (-1, 2)),))
    check_refusal(refusal(spec, VALID), 400, "binary data only")


@pytest.mark.parametrize("datatype", ["BOOL", "BYTES"])
def test_outputs_without_an_order_have_no_classes(datatype):
    spec = model(("input", "FP32", (-1, 3, 4, 4)), outputs=(("y", datatype, (-1, 2)),))
    body = image_fields() | {"outputs": [{"name": "y", "parameters": {"classification": 1}}]}
    check_refusal(refusal(spec, json.dumps(body).encode()), 400, "no largest values")


def test_fields_without_data():
    fields = RequestFields(id=None, inputs=(InputFields("input", "FP32", (1, 3, 4, 4)),))
    with pytest.raises(Refusal, match="no data"):
        infer_request(IMAGES, fields, Settings())


@pytest.mark.parametrize("value", [NAN, float("inf")])
def test_values_that_are_not_finite(value):
    """JSON has none of these, typed contents of gRPC do."""
    values = [value, *IMAGE_VALUES[1:]]
    given = InputFields("input", "FP32", (1, 3, 4, 4), values=values)
    fields = RequestFields(id=None, inputs=(given,))
    with pytest.raises(Refusal, match="NaN or infinity"):
        infer_request(IMAGES, fields, Settings())
    assert infer_request(IMAGES, fields, Settings(allow_nonfinite=True))
