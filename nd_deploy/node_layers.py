"""Which ND layers a node of a model holds, as the passes write it onto the node."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import NodeProto

LAYERS = "nd_deploy.layers"
"""The key of the metadata; its value is the layers' paths in the network, joined by commas."""


def layers_on(node: NodeProto) -> tuple[str, ...]:
    """What the passes wrote onto a node; empty if they wrote nothing."""
    for entry in node.metadata_props:
        if entry.key == LAYERS:
            return tuple(entry.value.split(","))
    return ()
