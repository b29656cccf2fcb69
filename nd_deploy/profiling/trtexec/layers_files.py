"""Reads what trtexec writes for --exportProfile and --exportLayerInfo: the times of layers.

The names of the former were read in NVIDIA's TensorRT repository, samples/common,
sampleReporting.cpp, `exportJSONProfile`, which is the same at the tags v10.3.0 to v11.1; the latter
is the text of TensorRT's engine inspector, of which only an engine with detailed profiling
verbosity gives objects.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nd_deploy.bundle.fields import number, required
from nd_deploy.profiling.figures import LayerTime
from nd_deploy.profiling.layers.attribution import UNKNOWN, Attribution, Place
from nd_deploy.profiling.trtexec.json_list import list_of_objects, read_json, refused

PROFILE, LAYERS = "--exportProfile", "--exportLayerInfo"

_SECONDS = 1e-3
# The metadata of an engine's layer names the ONNX nodes that it computes.
_NODE = re.compile(r"\[ONNX Layer: ([^\]]+)\]")


def read_layers(
    profile: Path, attribution: Attribution, information: Path | None = None
) -> tuple[LayerTime, ...]:
    """The median time of every layer, from a run of its own: never to be summed into a latency.

    Args:
        profile: what trtexec wrote for --exportProfile.
        attribution: of the model that the engine was built from.
        information: what it wrote for --exportLayerInfo, which tells more of what a layer is.

    Raises:
        InputError: a file is missing, malformed or cut off.
    """
    entries = list_of_objects(read_json(profile, PROFILE), profile, PROFILE)
    layers = [entry for entry in entries if "name" in entry]
    if not layers:
        raise refused(profile, PROFILE, "it names no layer")
    known = {} if information is None else _information(information)
    try:
        times = [(required(e, "name", str), number(e, "medianMs") * _SECONDS) for e in layers]
    except ValueError as error:
        raise refused(profile, PROFILE, str(error)) from error
    places = [_place(name, known.get(name, {}), attribution) for name, _ in times]
    return tuple(
        LayerTime(place.name, place.op, seconds, place.nd_layer)
        for place, (_, seconds) in zip(places, times, strict=True)
    )


def _information(path: Path) -> dict[str, Mapping[str, Any]]:
    document = read_json(path, LAYERS)
    layers = document.get("Layers") if isinstance(document, dict) else None
    if not isinstance(layers, list):
        raise refused(path, LAYERS, "it has no list called Layers")
    return {str(each.get("Name")): each for each in layers if isinstance(each, dict)}


def _place(name: str, known: Mapping[str, Any], attribution: Attribution) -> Place:
    nodes = _NODE.findall(str(known.get("Metadata", "")))
    place = attribution.of_engine_layer(" + ".join(nodes) or name)
    op = str(known.get("LayerType", place.op)) if place.op == UNKNOWN else place.op
    return replace(place, name=name, op=op)
