"""Requests to a tiny model that are to be refused, as bytes, with the status of each answer."""

import gzip
import json
import struct

PATH = "/v2/models/tiny/infer"
VALUES = [0.5, 1.0, -1.0, 2.0]
DATA = struct.pack("<4f", *VALUES)
# More than any test's server takes.
BOMB = gzip.compress(bytes(40 * 2**20), 9)


def request(body=b"", *headers, method="POST", path=PATH, length=None):
    """A request, as it goes over the wire."""
    size = len(body) if length is None else length
    head = [f"{method} {path} HTTP/1.1", "Host: test", f"Content-Length: {size}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


def described(**changes):
    """The JSON of a good request, with some members of its input changed; None drops one."""
    given = {"name": "image", "datatype": "FP32", "shape": [1, 1, 2, 2], "data": VALUES} | changes
    return {"inputs": [{key: value for key, value in given.items() if value is not None}]}


def in_json(more=(), **changes):
    return request(json.dumps(described(**changes) | dict(more)).encode())


def wanting(**output):
    return in_json({"outputs": [output]})


def in_binary(data=DATA, size=None, length=None, **changes):
    size = len(data) if size is None else size
    head = json.dumps(described(data=None, parameters={"binary_data_size": size}, **changes))
    length = len(head) if length is None else length
    return request(head.encode() + data, f"Inference-Header-Content-Length: {length}")


GOOD = in_json()
_TEXT = json.dumps(described())

# Its body never comes, so that nothing else can be sent after it.
UNFINISHED = "200 MB"

REFUSED = {
    "wrong size": (400, in_json(shape=[1, 1, 2, 3], data=[*VALUES, 0, 0])),
    "wrong rank": (400, in_json(shape=[1, 4])),
    "no batch": (400, in_json(shape=[1, 2, 2])),
    "too few values": (400, in_json(data=VALUES[1:])),
    "too many values": (400, in_json(data=[*VALUES, 0])),
    "values nested otherwise": (400, in_json(data=[[0.5], [1.0, -1.0, 2.0]])),
    "wrong datatype": (400, in_json(datatype="INT32", data=[1, 2, 3, 4])),
    "no such datatype": (400, in_json(datatype="FLOAT")),
    "NaN": (400, request(_TEXT.replace("0.5", "NaN").encode())),
    "infinity": (400, request(_TEXT.replace("0.5", "-Infinity").encode())),
    "NaN in binary": (400, in_binary(struct.pack("<4f", float("nan"), 0, 0, 0))),
    "infinity in binary": (400, in_binary(struct.pack("<4f", float("inf"), 0, 0, 0))),
    "beyond the datatype": (400, in_json(data=[1e39, 0, 0, 0])),
    "text for a number": (400, in_json(data=["1", 0, 0, 0])),
    "null for a number": (400, in_json(data=[None, 0, 0, 0])),
    "truncated": (400, request(_TEXT[:-5].encode())),
    "empty": (400, request()),
    "no JSON": (400, request(b"<html>")),
    "no UTF-8": (400, request(_TEXT.encode().replace(b"image", b"ima\xff"))),
    "a list": (400, request(b"[]")),
    "inputs are an object": (400, in_json({"inputs": {}})),
    "no inputs": (400, in_json({"inputs": []})),
    "an input twice": (400, in_json({"inputs": 2 * described()["inputs"]})),
    "a member twice": (400, request(_TEXT.replace('"name"', '"name": "x", "name"').encode())),
    "negative size": (400, in_json(shape=[-1, 1, 2, 2])),
    "size of a fraction": (400, in_json(shape=[1.5, 1, 2, 2])),
    "batch 0": (400, in_json(shape=[0, 1, 2, 2], data=[])),
    "batch over the largest": (400, in_json(shape=[64, 1, 2, 2], data=VALUES * 64)),
    "huge shape": (400, in_json(shape=[10**9, 1, 2, 2])),
    "huge shape in binary": (400, in_binary(shape=[10**9, 1, 2, 2])),
    "shape that overflows": (400, in_json(shape=[2**62, 2**62, 2, 2])),
    "no shape": (400, in_json(shape=None)),
    "no name": (400, in_json(name=None)),
    "no data": (400, in_json(data=None)),
    "unknown input": (400, in_json(name="x")),
    "unknown output": (400, wanting(name="x")),
    "unknown parameter": (400, in_json({"parameters": {"x": 1}})),
    "negative classification": (400, wanting(name="logits", parameters={"classification": -1})),
    "a sequence": (400, in_json({"parameters": {"sequence_id": 7}})),
    "shared memory": (400, in_json(data=None, parameters={"shared_memory_region": "r"})),
    "100,000 brackets": (400, request(b"[" * 100_000)),
    "binary size of 1e12": (400, in_binary(size=10**12)),
    "negative binary size": (400, in_binary(size=-1)),
    "binary data too short": (400, in_binary(DATA[:-1], size=len(DATA))),
    "binary data left over": (400, in_binary(DATA + b"more", size=len(DATA))),
    "binary data of another size": (400, in_binary(DATA[:-4])),
    "header length of text": (400, in_binary(length="x")),
    "header length past the end": (400, in_binary(length=10**6)),
    "negative header length": (400, in_binary(length=-1)),
    "broken gzip": (400, request(b"\x1f\x8b" + bytes(20), "Content-Encoding: gzip")),
    "a gzip bomb": (413, request(BOMB, "Content-Encoding: gzip")),
    "unknown encoding": (415, request(_TEXT.encode(), "Content-Encoding: zstd")),
    UNFINISHED: (413, request(length=200 * 10**6)),
    "content length of text": (400, request(length="x")),
    "unknown model": (404, request(_TEXT.encode(), path="/v2/models/x/infer")),
    "unknown version": (404, request(_TEXT.encode(), path="/v2/models/tiny/versions/9/infer")),
    "unknown path": (404, request(_TEXT.encode(), path="/v3")),
    "wrong method": (405, request(method="GET")),
    "metadata is not posted": (405, request(_TEXT.encode(), path="/v2/models/tiny")),
    "large headers": (431, request(_TEXT.encode(), f"X: {'x' * 40_000}")),
    "no HTTP": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n"),
    "no image": (400, request(b"GIF89a", path="/v1/models/tiny/classify")),
}
