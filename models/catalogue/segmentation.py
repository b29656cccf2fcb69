"""Networks for semantic segmentation."""

from ..info import ModelInfo

SEGMENTATION: tuple[ModelInfo, ...] = ()
