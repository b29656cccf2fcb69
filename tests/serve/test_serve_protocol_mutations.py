"""Whatever bytes come, a request is read or refused, and little memory is taken for it."""

import json
import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_bodies import IMAGES, image_binary, image_fields, model

from nd_deploy.serve.protocol.errors import error_body
from nd_deploy.serve.protocol.json_scan import measure
from nd_deploy.serve.protocol.reading import read_request
from nd_deploy.serve.refusal import Refusal
from nd_deploy.serve.settings import Settings

PROFILE = settings(max_examples=80, deadline=None, derandomize=True)
LIMITS = Settings()
INTEGERS = model(("input", "UINT8", (-1, 3, 4, 4)), outputs=(("y", "FP16", (-1,)),))
FULL = image_fields(data=list(range(48))) | {
    "id": "a",
    "outputs": [{"name": "logits", "parameters": {"binary_data": True, "classification": 2}}],
    "parameters": {"timeout": 5, "priority": 0, "binary_data_output": False},
}
SEEDS = [(json.dumps(FULL).encode(), {}), image_binary()]
# What replaces a part of a valid body: pieces of JSON, and of what is none.
PIECES = [
    b"[",
    b"]",
    b"{",
    b"}",
    b'"',
    b"\\",
    b",",
    b":",
    b"-",
    b"0",
    b"1e9",
    b"99999999999999999999",
]
PIECES += [b"null", b"true", b"NaN", b"\xff", b"\0", b'"name"', b'"data":', b'"shape":[1],', b"1.0"]

MUTATIONS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from([b"", *PIECES])),
    min_size=1,
    max_size=6,
)


def mutated(body, mutations):
    for place, length, piece in mutations:
        start = int(place * len(body))
        body = body[:start] + piece + body[start + length :]
    return body


def outcome(spec, body, headers):
    try:
        return read_request(spec, body, headers, LIMITS)
    except Refusal as refusal:
        check_refusal(refusal)
        return None


def check_refusal(refusal):
    assert refusal.status in (400, 413, 415)
    assert json.loads(error_body(refusal)) == {"error": refusal.message}


@PROFILE
@given(st.sampled_from(SEEDS), MUTATIONS, st.sampled_from([IMAGES, INTEGERS]))
def test_changed_bodies_are_read_or_refused(seed, mutations, spec):
    body, headers = seed
    tracemalloc.start()
    try:
        request = outcome(spec, mutated(body, mutations), headers)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200_000
    if request is not None:
        assert request.inputs["input"].shape[1:] == (3, 4, 4)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
PATHS = [
    ("inputs",),
    ("outputs",),
    ("parameters",),
    ("id",),
    ("inputs", 0),
    ("inputs", 0, "name"),
    ("inputs", 0, "shape"),
    ("inputs", 0, "shape", 1),
    ("inputs", 0, "datatype"),
    ("inputs", 0, "data"),
    ("inputs", 0, "data", 7),
    ("inputs", 0, "parameters"),
    ("outputs", 0),
    ("outputs", 0, "name"),
    ("outputs", 0, "parameters"),
    ("outputs", 0, "parameters", "classification"),
    ("parameters", "timeout"),
    ("parameters", "sequence_id"),
]


@PROFILE
@given(st.sampled_from(PATHS), VALUES)
def test_any_value_in_any_place_is_read_or_refused(path, value):
    document = json.loads(json.dumps(FULL))
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    outcome(IMAGES, json.dumps(document).encode("utf-8", "replace"), {})


@PROFILE
@given(st.text(max_size=20), st.binary(max_size=60))
def test_any_header_and_body_are_read_or_refused(length, body):
    outcome(IMAGES, body, {"inference-header-content-length": length, "content-encoding": length})


def depth_of(value):
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


def sizes_of(value):
    """How many values are in a value, itself included, and how many members objects have."""
    inner = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return 1, 0
    sizes = [sizes_of(item) for item in inner]
    members = len(value) if isinstance(value, dict) else 0
    return 1 + sum(size[0] for size in sizes), members + sum(size[1] for size in sizes)


TRICKY = st.recursive(
    st.integers(0, 9) | st.text(alphabet='[]{},:"\\ab', max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(alphabet='[{":,\\', max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@PROFILE
@given(TRICKY)
def test_the_scan_counts_what_a_parser_finds(value):
    text = json.dumps(value).encode()
    extent = measure(text)
    values, members = sizes_of(value)
    assert extent.members == members
    assert values - 1 <= extent.values <= 2 * values
    depth = depth_of(value)
    assert not extent.deeper_than(depth)
    assert depth == 0 or extent.deeper_than(depth - 1)


def test_the_scan_sees_depth_across_its_parts():
    text = b"[" * 3 + b"[]," * 40_000 + b"[" * 5 + b"]" * 8
    assert measure(text).deeper_than(7)
    assert not measure(text).deeper_than(8)
