"""The ND ops: their names, what they read, and their bodies in standard ops.

TensorRT matches built-in ops by name and ignores the domain, hence the ND prefix. An ONNX function
has no optional inputs, so a layer without a bias carries zeros.
"""

from nd_deploy.nd.ops.base import DOMAIN, VERSION, Op
from nd_deploy.nd.ops.channels import (
    CENTRE,
    CHANNEL_DECONV,
    CHANNEL_DECONV_LEFTOVER,
    CHANNEL_DECONV_LEFTOVER_RELU,
    CHANNEL_DECONV_RELU,
    CHANNEL_OPS,
    WITH_RELU,
)
from nd_deploy.nd.ops.dynamic import (
    CHANNEL_DECONV_DYNAMIC,
    DELINEAR_DYNAMIC,
    DYNAMIC_OPS,
    FAST_DECONV_DYNAMIC,
)
from nd_deploy.nd.ops.weights import (
    CONV_ATTRIBUTES,
    DELINEAR,
    FAST_DECONV,
    FAST_DECONV_TRANSPOSE,
    TRANSPOSE_ATTRIBUTES,
    WEIGHT_OPS,
)

__all__ = [
    "CENTRE",
    "CHANNEL_DECONV",
    "CHANNEL_DECONV_DYNAMIC",
    "CHANNEL_DECONV_LEFTOVER",
    "CHANNEL_DECONV_LEFTOVER_RELU",
    "CHANNEL_DECONV_RELU",
    "CONV_ATTRIBUTES",
    "DELINEAR",
    "DELINEAR_DYNAMIC",
    "DOMAIN",
    "DYNAMIC_OPS",
    "FAST_DECONV",
    "FAST_DECONV_DYNAMIC",
    "FAST_DECONV_TRANSPOSE",
    "OPS",
    "TRANSPOSE_ATTRIBUTES",
    "VERSION",
    "WITH_RELU",
    "Op",
]

OPS: dict[str, Op] = {op.name: op for op in (*WEIGHT_OPS, *CHANNEL_OPS, *DYNAMIC_OPS)}
