"""One home for optional imports and for what differs between the versions of a dependency."""

from nd_deploy.compat.ort import onnxruntime, onnxruntime_conflict, preload_cuda
from nd_deploy.compat.packages import require, torch, version_of

__all__ = [
    "onnxruntime",
    "onnxruntime_conflict",
    "preload_cuda",
    "require",
    "torch",
    "version_of",
]
