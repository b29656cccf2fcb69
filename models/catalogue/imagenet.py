"""Networks for ImageNet."""

from ..info import ModelInfo

IMAGENET: tuple[ModelInfo, ...] = ()
