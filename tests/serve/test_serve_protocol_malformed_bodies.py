"""Bodies that are damaged, lie or are too large are refused before memory is taken for them."""

import gzip
import json
import struct
import tracemalloc

import pytest
from protocol_bodies import IMAGES, check_refusal, image_binary, image_fields, model, refusal

from nd_deploy.serve.protocol.errors import shown
from nd_deploy.serve.protocol.reading import read_request
from nd_deploy.serve.settings import Settings

VALID = json.dumps(image_fields()).encode()
NAN = float("nan")


def binary(data=None, length=None, **changes):
    body, headers = image_binary(data, **changes) if data is not None else image_binary(**changes)
    return body, headers if length is None else {"inference-header-content-length": length}


BODIES = {
    "empty": (b"", "no body"),
    "NaN": (VALID.replace(b"0.125", b"NaN"), "no valid JSON"),
    "Infinity": (VALID.replace(b"0.125", b"-Infinity"), "no valid JSON"),
    "a number beyond any datatype": (VALID.replace(b"0.125", b"1e400"), "no valid JSON"),
    "truncated": (VALID[:-3], "no valid JSON"),
    "half": (VALID[: len(VALID) // 2], "no valid JSON"),
    "followed by more": (VALID + b"{}", "no valid JSON"),
    "not UTF-8": (VALID.replace(b'"input"', b'"inp\xff"'), "no valid JSON"),
    "half a surrogate": (VALID.replace(b'"input"', b'"\\ud800"'), "no valid JSON"),
    "UTF-16": (VALID.decode().encode("utf-16"), ""),
    "byte order mark": (b"\xef\xbb\xbf" + VALID, "no valid JSON"),
    "HTML": (b"<html></html>", "no valid JSON"),
    "binary noise": (bytes(range(256)) * 8, ""),
    "100,000 brackets": (b"[" * 100_000, "nested deeper"),
    "100,000 pairs of brackets": (b"[" * 100_000 + b"]" * 100_000, "nested deeper"),
    "100,000 braces": (b'{"a":' * 4_000 + b"1" + b"}" * 4_000, "nested deeper"),
    "33 levels": (
        VALID.replace(b'"data": [', b'"data": ' + b"[" * 31).replace(b"]}]", b"]" * 31 + b"}]"),
        "nested deeper",
    ),
    "doubled member": (VALID.replace(b'"name"', b'"name": "x", "name"'), "twice"),
    "doubled member beside colons in text": (
        VALID.replace(b'"inputs"', b'"id": "a:b:c", "inputs"').replace(
            b'"shape"', b'"shape": [1], "shape"'
        ),
        "twice",
    ),
    "doubled parameter": (
        VALID[:-1] + b', "parameters": {"timeout": 1, "timeout": 2}}',
        "twice",
    ),
    "doubled inputs": (VALID[:-1] + b", " + VALID[1:], "twice"),
    "many strings": (b'{"inputs": [' + b'"a",' * 6_000 + b'"a"]}', "strings"),
}

BINARIES = {
    "size of 1e12": (
        binary(parameters={"binary_data_size": 10**12}),
        "1000000000000 bytes, and 192 are left",
    ),
    "size as a float": (binary(parameters={"binary_data_size": 192.0}), "192.0"),
    "negative size": (binary(parameters={"binary_data_size": -1}), "-1"),
    "size is a boolean": (binary(parameters={"binary_data_size": True}), "True"),
    "size is text": (binary(parameters={"binary_data_size": "192"}), "'192'"),
    "size too small": (binary(parameters={"binary_data_size": 188}), "4 bytes are left"),
    "data too short": (
        binary(b"\0" * 188, parameters={"binary_data_size": 192}),
        "188 are left",
    ),
    "data of another shape": (binary(b"\0" * 188), "188 bytes of data"),
    "data of nothing": (binary(b""), "0 bytes of data"),
    "more data than inputs": (
        (image_binary()[0] + b"\0", image_binary()[1]),
        "1 bytes are left",
    ),
    "huge shape": (binary(shape=[10**9, 3, 4, 4]), "at most 32"),
    "NaN": (binary(struct.pack("<48f", *[NAN] * 48)), "--input-data zero"),
    "infinity": (binary(struct.pack("<48f", *[0] * 47, float("-inf"))), "--input-data zero"),
    "length beyond the body": (binary(length="100000"), "Inference-Header-Content-Length"),
    "negative length": (binary(length="-1"), "Inference-Header-Content-Length"),
    "length of text": (binary(length="abc"), "Inference-Header-Content-Length"),
    "length of a fraction": (binary(length="1.5"), "Inference-Header-Content-Length"),
    "length with an underscore": (binary(length="1_0"), "Inference-Header-Content-Length"),
    "length in other digits": (binary(length="\u0661"), "Inference-Header-Content-Length"),
    "endless length": (binary(length="9" * 5000), "Inference-Header-Content-Length"),
    "length that is empty": (binary(length=""), "Inference-Header-Content-Length"),
    "length too short": (binary(length="20"), "no valid JSON"),
    "length too long": (binary(length="200"), "no valid JSON"),
    "length of 0 before JSON": (binary(length="0"), "bytes of data"),
    "no length": ((image_binary()[0], {}), "no valid JSON"),
}


@pytest.mark.parametrize(("body", "hint"), BODIES.values(), ids=BODIES.keys())
def test_bodies_that_are_no_json(body, hint):
    check_refusal(refusal(IMAGES, body), 400, hint)


@pytest.mark.parametrize(("sent", "hint"), BINARIES.values(), ids=BINARIES.keys())
def test_binary_data_that_does_not_add_up(sent, hint):
    check_refusal(refusal(IMAGES, *sent), 400, hint)


def test_bytes_that_are_no_booleans():
    spec = model(("x", "BOOL", (-1,)))
    body = b"\x02"
    check_refusal(refusal(spec, body, {"inference-header-content-length": "0"}), 400, "0 and 1")


@pytest.mark.parametrize(
    ("inputs", "size", "hint"),
    [
        ([("a", "FP32", (-1,)), ("b", "FP32", (-1,))], 8, "2 inputs"),
        ([("a", "FP32", (-1, -1, -1))], 8, "leave open"),
        ([("a", "FP32", (-1, 3, -1))], 20, "bytes of data"),
        ([("a", "FP32", (-1, 3, -1))], 8, "takes [-1, 3, -1]"),
    ],
)
def test_bytes_alone_that_say_too_little(inputs, size, hint):
    headers = {"inference-header-content-length": "0"}
    check_refusal(refusal(model(*inputs), b"\0" * size, headers), 400, hint)


def test_json_of_more_values_than_are_read():
    spec = model(("x", "FP32", (-1, -1)))
    body = json.dumps(
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2000], "data": [1] * 2000}]}
    ).encode()
    check_refusal(refusal(spec, body, limits=Settings(json_values=1000)), 413, "at most 1000")
    assert read_request(spec, body, {}, Settings(json_values=3000)).inputs["x"].shape == (1, 2000)


def test_bodies_beyond_the_limit():
    limits = Settings(body_limit=len(VALID))
    check_refusal(refusal(IMAGES, VALID + b" " * 9_000, limits=limits), 413, "larger than")
    packed = gzip.compress(b" " * 100_000)
    check_refusal(refusal(IMAGES, packed, {"content-encoding": "gzip"}, limits), 413, "larger than")


def test_the_largest_batch_fits_whatever_the_limit():
    body, headers = image_binary(b"\0" * 192 * 32, shape=[32, 3, 4, 4])
    assert (
        read_request(IMAGES, body, headers, Settings(body_limit=1)).inputs["input"].shape[0] == 32
    )


def test_no_more_of_what_a_client_sent_comes_back_than_makes_it_out():
    for value in ("a" * 10**6, [["a" * 1000] * 1000] * 1000, {"a" * 1000: 1}, b"a" * 1000):
        assert len(shown(value)) < 100
    found = refusal(IMAGES, json.dumps(image_fields(name="a" * 10**5)).encode())
    check_refusal(found, 400, "'aaaa")


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(image_fields(shape=[10**9, 3, 4, 4])).encode(),
        json.dumps(image_fields(shape=[10**9, 10**9, 10**9, 10**9])).encode(),
        b"[" * 100_000,
        b"[" + b"[]," * 300_000 + b"[]]",
        b"[" + b'"",' * 300_000 + b'""]',
        b'{"inputs":[{"name":"input","data":[' + b"1.5," * 300_000 + b"1]}]}",
    ],
    ids=["huge shape", "endless shape", "brackets", "lists", "strings", "numbers"],
)
def test_what_a_body_claims_takes_no_memory(body):
    tracemalloc.start()
    try:
        refusal(IMAGES, body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(body) + 200_000
