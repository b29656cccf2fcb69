"""JSON that has come before is not read again, and nothing else changes by that."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_bodies import IMAGES, check_refusal, image_binary, image_fields, model, refusal

from nd_deploy.serve.exchange import OutputWanted
from nd_deploy.serve.protocol import heads
from nd_deploy.serve.protocol.facts import facts_of
from nd_deploy.serve.protocol.heads import read_json
from nd_deploy.serve.protocol.json_scan import is_within, measure
from nd_deploy.serve.protocol.reading import read_request
from nd_deploy.serve.refusal import Refusal
from nd_deploy.serve.settings import Settings

PROFILE = settings(max_examples=200, deadline=None, derandomize=True)
DEFAULTS = Settings()
IMAGE = np.zeros((1, 3, 4, 4), np.float32)


def numbered(number):
    """A binary request with an id: body, headers."""
    fields = image_fields(data=None, parameters={"binary_data_size": IMAGE.nbytes})
    head = json.dumps({"id": str(number), **fields}).encode()
    return head + IMAGE.tobytes(), {"inference-header-content-length": str(len(head))}


def test_equal_json_stands_for_the_data_that_comes_with_it():
    head, headers = image_binary(b"", parameters={"binary_data_size": IMAGE.nbytes})
    drawn = np.random.default_rng(3).standard_normal((2, *IMAGE.shape)).astype(np.float32)
    for image in drawn:
        request = read_request(IMAGES, head + image.tobytes(), headers, DEFAULTS)
        np.testing.assert_array_equal(request.inputs["input"], image)
    longer = refusal(IMAGES, head + drawn.tobytes(), headers)
    check_refusal(longer, 400, f"{IMAGE.nbytes} bytes are left")
    check_refusal(refusal(IMAGES, head + drawn.tobytes()[:100], headers), 400, "100 are left")


def test_equal_values_in_json_are_given_to_each_request():
    body = json.dumps(image_fields()).encode()
    first, second = (read_request(IMAGES, body, {}, DEFAULTS).inputs["input"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.shares_memory(first, second)


def test_ids_and_versions_are_each_requests_own():
    asked = [read_request(IMAGES, *numbered(n), DEFAULTS, version=str(n)) for n in (1, 2, 1)]
    assert [request.id for request in asked] == ["1", "2", "1"]
    assert [request.version for request in asked] == ["1", "2", "1"]


def test_equal_json_is_read_for_the_model_that_is_served_now():
    body, headers = image_binary()
    for _ in range(2):
        request = read_request(IMAGES, body, headers, DEFAULTS)
        assert request.outputs == (OutputWanted("logits"),)
        port = ("input", "FP32", (-1, 3, 4, 4))
        changed = model(port, outputs=(("scores", "FP16", (-1, 10)),))
        check_refusal(refusal(changed, body, headers), 400, "binary data only")


def test_equal_json_is_read_within_each_servers_limits():
    body, headers = image_binary()
    read_request(IMAGES, body, headers, DEFAULTS)
    check_refusal(refusal(IMAGES, body, headers, Settings(json_depth=2)), 400, "deeper than 2")
    check_refusal(refusal(IMAGES, body, headers, Settings(json_values=3)), 413, "at most 3 are")


REST = b'"inputs":[{"name":"input","datatype":"FP32","shape":[1],"data":[1]}]}'
IDS = st.one_of(
    st.sampled_from(
        ["", "a", "7f-3.b:/+=@_", "x" * 128, "x" * 129, "é", 'q"', "\\", "a b", "\u0661"]
    ),
    st.text(max_size=6),
    st.integers(),
    st.none(),
)


def outcome(read, text):
    """What was read, or how it was refused."""
    try:
        asked = read(text, facts_of(IMAGES), 32, 1_000_000)
        return asked.id, asked.head.fields.inputs, asked.head.sizes, asked.wishes
    except Refusal as refusal:
        return refusal.status, refusal.message


@PROFILE
@given(
    ids=st.lists(IDS, max_size=2),
    escapes=st.booleans(),
    colon=st.sampled_from([":", ": ", ":  ", " :"]),
    comma=st.sampled_from([",", ", ", ",\n", ",,", " ,", ""]),
    rest=st.sampled_from([REST, b"}", REST[:-1], REST.replace(b"input", b"other"), REST + b" "]),
)
def test_json_with_an_id_is_read_as_if_nothing_were_remembered(ids, escapes, colon, comma, rest):
    members = [f'"id"{colon}{json.dumps(each, ensure_ascii=escapes)}{comma}' for each in ids]
    text = b"{" + "".join(members).encode("utf-8", "surrogatepass") + rest
    assert outcome(read_json, text) == outcome(heads._read, text)


def test_text_may_hold_what_json_is_made_of():
    name = '":,[{}]\\"'
    body, headers = image_binary()
    length = int(headers["inference-header-content-length"])
    head = json.dumps({"id": name, **json.loads(body[:length])}).encode()
    headers = {"inference-header-content-length": str(len(head))}
    assert read_request(IMAGES, head + body[length:], headers, DEFAULTS).id == name


@PROFILE
@given(st.text('[{}],:"\\a1 ', max_size=60), st.integers(0, 8), st.integers(0, 60))
def test_what_is_called_short_holds_no_more_than_is_counted(text, depth, values):
    extent = measure(text.encode())
    if is_within(text.encode(), depth, values):
        assert not extent.deeper_than(depth)
        assert extent.values <= values


def test_equal_json_that_was_refused_is_refused_again():
    body, headers = image_binary(parameters={"binary_data_size": -1})
    for _ in range(2):
        check_refusal(refusal(IMAGES, body, headers), 400, "-1")


@pytest.mark.parametrize("filler", ["", "x" * 800], ids=["short", "long"])
def test_json_without_number_takes_no_memory_without_end(filler):
    def read(numbers):
        for number in numbers:
            read_request(IMAGES, *numbered(f"{number}{filler}"), DEFAULTS)

    tracemalloc.start()
    read(range(200))
    before = tracemalloc.get_traced_memory()[0]
    read(range(200, 3000))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 100_000
