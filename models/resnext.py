"""ResNeXt-29 with 32 groups for CIFAR (Xie et al., 2017)."""

from collections.abc import Mapping
from typing import Any, ClassVar

from .blocks import Recipe
from .resnet import Bottleneck
from .staged import StagedNet, residual_stages

_CARDINALITY = 32
# Channels of the grouped convolutions: 4, 8 and 16 a group.
_WIDTHS = (128, 256, 512)


class GroupedBottleneck(Bottleneck):
    """A bottleneck whose 3x3 convolution is grouped and whitened in fewer steps."""

    expansion = 2
    spatial: ClassVar[Mapping[str, Any]] = {"groups": _CARDINALITY, "n_iter": 3}


def resnext29(**options: Any) -> StagedNet:  # noqa: ANN401
    """Builds ResNeXt-29 32x4d; the options are those of `Recipe`."""
    recipe = Recipe(**options)
    stages = residual_stages(GroupedBottleneck, _WIDTHS, (3, 3, 3), recipe)
    features = _WIDTHS[-1] * GroupedBottleneck.expansion
    return StagedNet(recipe.stem(64, kernel_size=1), stages, features, recipe, pool=8)
