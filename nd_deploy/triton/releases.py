"""Triton's releases: which are known, what each carries, and which have holes.

Where each fact is from:

* ONNX Runtime of 26.07: the table of the server's docs/introduction/compatibility.md. Of 26.08 to
  26.10 no table was at hand; the server's build.py still has 1.27.0 while it tracks 26.09, and a
  later ONNX Runtime reads whatever an earlier one does, so that 1.27.0 is what they have at least.
* What ONNX Runtime 1.27.0 reads: tried, by loading models of every opset and IR version.
* The least release to run: NVIDIA's security bulletins of 2026 name r26.02 to r26.07 as the ones
  that end a hole each, among them authentication bypasses with a CVSS of 9.8 (CVE-2026-24206 and
  -24207).
* TensorRT: no table that was at hand has the version of the plain container, so that whoever
  exports a plan has to say it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nd_deploy.errors import InputError

REGISTRY = "nvcr.io/nvidia/tritonserver"

_IMAGE = re.compile(r"(?P<place>[^\s@]+):(?P<release>\d\d\.\d\d)-py3(?:@sha256:[0-9a-f]{64})?")
_BULLETINS = "https://www.nvidia.com/en-us/security"


@dataclass(frozen=True)
class Release:
    """A monthly release of Triton.

    Attributes:
        name: year and month, such as "26.10".
        onnxruntime: the version of ONNX Runtime in it, or the least that it may be.
        opset: the newest standard ops that this reads.
        ir_version: the newest of ONNX's own format that it reads.
    """

    name: str
    onnxruntime: str
    opset: int
    ir_version: int


RELEASES = {
    name: Release(name, "1.27.0", opset=26, ir_version=13)
    for name in ("26.07", "26.08", "26.09", "26.10")
}
LEAST = min(RELEASES)
PINNED = max(RELEASES)
IMAGE = f"{REGISTRY}:{PINNED}-py3"


def release_of(image: str) -> Release:
    """The release that an image holds, by its tag.

    Args:
        image: such as "nvcr.io/nvidia/tritonserver:26.10-py3", with a digest or without.

    Raises:
        InputError: the tag names none, or one with known holes, or one that is not known.
    """
    found = _IMAGE.fullmatch(image)
    if found is None:
        raise InputError(
            f"--image {image} has no tag such as {PINNED}-py3, which says the release and that it "
            "has every backend",
            f"name such an image, for example {IMAGE}",
        )
    name = found["release"]
    if name < LEAST:
        raise InputError(
            f"--image {image}: Triton before {LEAST} has critical holes that are public, among "
            "them ones that let anybody past its authentication",
            f"use {IMAGE}; NVIDIA's bulletins are at {_BULLETINS}",
        )
    if name not in RELEASES:
        raise InputError(
            f"--image {image}: nothing is known of Triton {name}; known are {', '.join(RELEASES)}",
            f"use {IMAGE}, or a newer nd-deploy",
        )
    return RELEASES[name]
