"""Modules that stand in for ND layers during export.

They compute nothing: `torch.onnx.ops.symbolic` puts a dialect node into the graph and says what
shape comes out. Their buffers share memory with the layer they replace.
"""

from nd_deploy.nd.adapters.base import Adapter, Chain
from nd_deploy.nd.adapters.channels import (
    CentreAdapter,
    ChannelDeconvAdapter,
    ScaledChannelDeconvAdapter,
)
from nd_deploy.nd.adapters.convolution import FastDeconvAdapter, FastDeconvTransposeAdapter
from nd_deploy.nd.adapters.linear import DelinearAdapter

__all__ = [
    "Adapter",
    "CentreAdapter",
    "Chain",
    "ChannelDeconvAdapter",
    "DelinearAdapter",
    "FastDeconvAdapter",
    "FastDeconvTransposeAdapter",
    "ScaledChannelDeconvAdapter",
]
