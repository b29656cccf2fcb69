"""Compressed requests are read within their limit, and responses shrink where that pays."""

import gzip
import tracemalloc
import zlib

import numpy as np
import pytest

from nd_deploy.serve.protocol.compression import accepted_encoding, compressed, decompressed
from nd_deploy.serve.refusal import Refusal

TEXT = b'{"inputs": []}' * 300


def deflated(data):
    return zlib.compress(data)


WRITERS = {"gzip": gzip.compress, "deflate": deflated}


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "GZIP", " deflate "])
def test_bodies_are_as_they_were(encoding):
    body = WRITERS[encoding.strip().lower()](TEXT)
    assert decompressed(body, encoding, len(TEXT)) == TEXT
    assert decompressed(memoryview(body), encoding, len(TEXT)) == TEXT


@pytest.mark.parametrize("encoding", [None, "", "identity"])
def test_plain_bodies_are_left_alone(encoding):
    assert decompressed(TEXT, encoding, len(TEXT)) is TEXT


def status_of(body, encoding, limit=10**6):
    with pytest.raises(Refusal) as refusal:
        decompressed(body, encoding, limit)
    return refusal.value.status


@pytest.mark.parametrize("encoding", WRITERS)
def test_damaged_bodies_are_refused(encoding):
    body = WRITERS[encoding](TEXT)
    assert status_of(body[:-1], encoding) == 400
    assert status_of(body[: len(body) // 2], encoding) == 400
    assert status_of(body + b"x", encoding) == 400
    assert status_of(body[:-1] + bytes([body[-1] ^ 1]), encoding) == 400
    assert status_of(TEXT, encoding) == 400
    assert status_of(b"", encoding) == 400


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "x"])
def test_other_encodings_are_refused(encoding):
    assert status_of(TEXT, encoding) == 415


def test_bodies_beyond_the_limit_are_refused():
    assert status_of(TEXT, None, len(TEXT) - 1) == 413
    assert status_of(gzip.compress(TEXT), "gzip", len(TEXT) - 1) == 413


def test_a_bomb_is_stopped_at_the_limit():
    bomb = gzip.compress(b"\0" * 50_000_000, 1)
    tracemalloc.start()
    try:
        assert status_of(bomb, "gzip", 1_000_000) == 413
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        (None, None),
        ("", None),
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("deflate, gzip", "gzip"),
        ("gzip;q=0.5, deflate;q=0.8", "deflate"),
        ("GZIP ; q=0.5", "gzip"),
        ("gzip;q=0", None),
        ("identity", None),
        ("identity;q=1, gzip;q=0.5", None),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("br, zstd", None),
        ("br;q=1, *;q=0.1", "gzip"),
        ("*", "gzip"),
        ("gzip;q=0, *", "deflate"),
        ("gzip;q=x", None),
        ("gzip;q=nan", None),
        (";,;q=1,", None),
    ],
)
def test_the_client_chooses_the_encoding(header, encoding):
    assert accepted_encoding(header) == encoding


def test_responses_are_compressed_as_the_client_reads_them():
    parts = [TEXT, memoryview(TEXT)]
    assert gzip.decompress(compressed(parts, "gzip")) == TEXT * 2
    assert zlib.decompress(compressed(parts, "deflate")) == TEXT * 2
    assert len(compressed(parts, "gzip")) < len(TEXT)


def test_responses_stay_as_they_are_where_compression_does_not_pay():
    noise = np.random.default_rng(0).standard_normal(5000).astype(np.float32).tobytes()
    assert compressed([TEXT], None) is None
    assert compressed([TEXT[:1000]], "gzip") is None
    assert compressed([noise], "gzip") is None
    assert compressed([TEXT * 10, noise], "gzip") is None
    assert compressed([TEXT, b"\0" * 100_000], "gzip") is not None
