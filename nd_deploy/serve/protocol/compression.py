"""Compressed bodies: requests within a limit, responses where it pays."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from nd_deploy.serve.protocol.errors import bad_request, shown
from nd_deploy.serve.refusal import TOO_LARGE, UNSUPPORTED_ENCODING, Refusal

# zlib's window sizes for RFC 1952 (gzip) and RFC 1950, which HTTP calls deflate.
_WINDOWS = {"gzip": 31, "deflate": 15}
# What fits a packet gains nothing.
_SMALLEST = 1400
# Level 6 makes digits 10 % smaller than level 1 does, and takes six times as long.
_LEVEL = 1
# Floating-point data shrinks by about 8 %, at 50 ms and more for a megabyte: a sample tells.
_SAMPLE = 16 * 2**10
_WORTHWHILE = 0.8


def decompressed(body: bytes | memoryview, encoding: str | None, limit: int) -> bytes | memoryview:
    """A request's body as it was before compression.

    Args:
        body: as it came.
        encoding: the Content-Encoding header; None if there is none.
        limit: bytes that the body may have, compressed or not. No more are ever made.

    Raises:
        Refusal: 400, it is damaged, cut off or followed by more; 413, it has more bytes than the
            limit; 415, the encoding is neither gzip nor deflate.
    """
    if len(body) > limit:
        raise _too_large(limit)
    if encoding is None:
        return body
    name = (encoding or "identity").strip().lower()
    if name == "identity":
        return body
    if name not in _WINDOWS:
        raise Refusal(
            UNSUPPORTED_ENCODING,
            "unsupported encoding",
            f"the request's encoding is {shown(encoding)}; gzip and deflate are read",
        )
    return _inflated(body, name, limit)


def _inflated(body: bytes | memoryview, encoding: str, limit: int) -> bytes:
    stream = zlib.decompressobj(_WINDOWS[encoding])
    try:
        content = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise bad_request(f"the request is no valid {encoding}") from error
    if len(content) > limit:
        raise _too_large(limit)
    if not stream.eof:
        raise bad_request(f"the request's {encoding} is cut off")
    if stream.unused_data:
        raise bad_request(f"something follows the request's {encoding}")
    return content


def _too_large(limit: int) -> Refusal:
    return Refusal(TOO_LARGE, "body too large", f"the request's body is larger than {limit} bytes")


def accepted_encoding(header: str | None) -> str | None:
    """The compression that a client likes best of those there are.

    Args:
        header: Accept-Encoding (RFC 9110, section 12.5.3); None if there is none.

    Returns:
        "gzip" or "deflate"; None if the client wants neither, or prefers none.
    """
    if header is None:
        return None
    weights = dict(_weighted(item) for item in header.lower().split(","))
    others = weights.get("*", 0.0)
    best = max(_WINDOWS, key=lambda name: weights.get(name, others))
    weight = weights.get(best, others)
    return best if weight > 0 and weight >= weights.get("identity", 0.0) else None


def _weighted(item: str) -> tuple[str, float]:
    """A coding and its weight: 1 if it has none, 0 if that is no number."""
    name, _, parameter = item.partition(";")
    key, _, value = parameter.partition("=")
    try:
        weight = float(value) if key.strip() == "q" else 1.0
    except ValueError:
        weight = 0.0
    return name.strip(), weight


def compressed(parts: Sequence[bytes | memoryview], encoding: str | None) -> bytes | None:
    """A response's body, compressed.

    Args:
        parts: of the body, in order.
        encoding: of `accepted_encoding`.

    Returns:
        The body; None where compression is not wanted or would not pay, and the parts are to be
        sent as they are.
    """
    if encoding is None or sum(map(len, parts)) < _SMALLEST:
        return None
    body = b"".join(parts)
    if not _pays(body):
        return None
    stream = zlib.compressobj(_LEVEL, wbits=_WINDOWS[encoding])
    return stream.compress(body) + stream.flush()


def _pays(body: bytes) -> bool:
    # From the end: what is binary follows its JSON.
    sample = memoryview(body)[-_SAMPLE:]
    return len(zlib.compress(sample, _LEVEL)) < _WORTHWHILE * len(sample)
