"""The affine map that a ChannelDeconv node of the dialect stands for."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from nd_deploy.fold.channels import ChannelMap
from nd_deploy.nd.dialect import CHANNEL_DECONV, CHANNEL_DECONV_LEFTOVER
from nd_deploy.passes.base import Refusal
from nd_deploy.passes.graph import parameters, static_dim

CHANNEL_DECONV_OPS = (CHANNEL_DECONV, CHANNEL_DECONV_LEFTOVER)


def read_channel_map(node: gs.Node) -> ChannelMap | Refusal:
    """The map y = M (x - m) of an NDChannelDeconv or NDChannelDeconvLeftover, in float64."""
    values = parameters(node)
    if isinstance(values, Refusal):
        return values
    channels = static_dim(node.inputs[0], 1)
    if channels is None:
        return Refusal(f"{node.inputs[0].name} has an unknown or dynamic number of channels")
    mean, deconv = values[:2]
    if node.op == CHANNEL_DECONV:
        if channels % deconv.shape[0]:
            return Refusal(f"{channels} channels do not split into blocks of {deconv.shape[0]}")
        return ChannelMap(deconv, mean, channels)
    leftover_mean, leftover_scale = (float(value[0]) for value in values[2:])
    return ChannelMap(deconv, mean, channels, leftover_mean, leftover_scale)
