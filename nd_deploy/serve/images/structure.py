"""Files that are small and long to decode, found without decoding them."""

from __future__ import annotations

import re

from nd_deploy.serve.refusal import BAD_REQUEST, Refusal

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"

# Cameras and encoders write some dozens at most, and Pillow reads each in Python.
_MAX_SEGMENTS = 2_000
# Encoders write an image's data in chunks of 8 KiB or more.
_MAX_CHUNKS = 20_000
# A progressive JPEG has about ten, and each goes over all of the image, however short it is.
_MAX_SCANS = 64

# ITU-T T.81, section B.1.1: what follows FF in coded data is 00 or a restart, D0 to D7.
_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN = 0xD8, 0xD9, 0xDA


def check_structure(data: bytes) -> None:
    """Refuse a file whose decoding would take far longer than its size and pixels let expect.

    Args:
        data: of any format; a JPEG or a PNG is looked through.

    Raises:
        Refusal: 400, it is made of too many parts.
    """
    if data.startswith(_JPEG):
        _check_jpeg(data)
    elif data.startswith(_PNG):
        _check_png(data)


def _check_jpeg(data: bytes) -> None:
    segments, scans, position = 0, 0, 0
    while found := _MARKER.search(data, position):
        marker, position = found[1][0], found.end()
        if marker == _START_OF_IMAGE:
            continue
        if marker == _END_OF_IMAGE:
            return
        segments += 1
        scans += marker == _START_OF_SCAN
        if segments > _MAX_SEGMENTS or scans > _MAX_SCANS:
            raise _too_many("segments or scans")
        position += int.from_bytes(data[position : position + 2], "big")


def _check_png(data: bytes) -> None:
    chunks, position = 0, len(_PNG)
    while position < len(data):
        chunks += 1
        if chunks > _MAX_CHUNKS:
            raise _too_many("chunks")
        # W3C PNG, section 5.3: the length counts neither itself nor the type and the checksum.
        position += 12 + int.from_bytes(data[position : position + 4], "big")


def _too_many(parts: str) -> Refusal:
    return Refusal(
        BAD_REQUEST,
        "image structure",
        f"the image is made of too many {parts}: open it in an editor and save it again",
    )
