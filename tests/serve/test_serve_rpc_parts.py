"""Requests made of more parts than any needs."""

import numpy as np
import pytest
from rpc_stand_ins import request
from tritonclient.grpc import service_pb2

from nd_deploy.serve.refusal import Refusal
from nd_deploy.serve.rpc.messages import INFERENCE
from nd_deploy.serve.rpc.parts import check_parts

MANY = 10_001


def check(data):
    check_parts(data, INFERENCE["ModelInferRequest"].DESCRIPTOR)


def in_an_input(data):
    """An input of a request whose content is `data`."""
    size = len(data)
    assert size < 2**21
    return bytes([0x2A, size & 127 | 128, size >> 7 & 127 | 128, size >> 14]) + data


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("inputs", b"\x2a\x00" * MANY),
        ("outputs", b"\x32\x00" * MANY),
        ("parameters", b"\x22\x00" * MANY),
        ("raw contents", b"\x3a\x00" * MANY),
        ("unknown fields", b"\x98\x06\x00" * MANY),
        ("groups", b"\x9b\x06\x9c\x06" * MANY),
        ("parameters of an input", in_an_input(b"\x22\x00" * MANY)),
        ("sizes of an input, unpacked", in_an_input(b"\x18\x01" * MANY)),
        ("fixed numbers of an input", in_an_input(b"\xa5\x06\x00\x00\x00\x00" * MANY)),
    ],
)
def test_too_many_are_refused_before_they_are_parsed(what, data):
    with pytest.raises(Refusal, match="more than 10000 fields") as caught:
        check(data)
    assert caught.value.status == 400


def test_they_are_counted_over_all_messages_together():
    part = in_an_input(b"\x22\x00" * (MANY // 2))

    check(part)
    with pytest.raises(Refusal, match="more than 10000 fields"):
        check(part + part)


@pytest.mark.parametrize("packed_sizes", [1025, 1_000_000])
def test_a_shape_of_too_many_sizes_is_refused_before_it_is_parsed(packed_sizes):
    message = service_pb2.ModelInferRequest(raw_input_contents=[bytes(20_000)])
    message.inputs.add(name="x", datatype="FP32", shape=[1] * packed_sizes)

    with pytest.raises(Refusal, match="more sizes than any tensor"):
        check(message.SerializeToString())


def test_a_large_tensor_is_one_part():
    check(request(np.zeros((100, 3000), np.float32)).SerializeToString())


def test_packed_typed_contents_are_one_part():
    message = service_pb2.ModelInferRequest(model_name="m")
    contents = service_pb2.InferTensorContents(fp32_contents=[1.0] * 20_000)
    message.inputs.add(name="x", datatype="FP32", shape=[20_000], contents=contents)

    check(message.SerializeToString())


def test_the_bytes_of_a_tensor_are_not_read_as_a_message():
    message = service_pb2.ModelInferRequest(raw_input_contents=[b"\x2a\x00" * MANY])

    check(message.SerializeToString())
