"""ResNet-18, 34, 50, 101 (He et al., 2016) and ResNeXt-50 (Xie et al., 2017) for ImageNet."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .blocks import BasicBranch, BottleneckBranch, Recipe

_STEM = 64


@dataclass(frozen=True)
class Geometry:
    """The 3x3 convolution of a block by which ResNets differ.

    It is the first of a BasicBlock, which only strides, and the middle one of a Bottleneck.

    Attributes:
        stride: as in `nn.Conv2d`.
        dilation: as in `nn.Conv2d`.
        groups: as in `nn.Conv2d`.
        group_width: channels a group in the first stage; each further stage doubles them.
    """

    stride: int = 1
    dilation: int = 1
    groups: int = 1
    group_width: int = 64


class BasicBlock(BasicBranch):
    """Two 3x3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, in_planes: int, planes: int, geometry: Geometry, recipe: Recipe) -> None:
        super().__init__(in_planes, planes, geometry.stride, recipe)
        self.downsample = _downsample(in_planes, planes, geometry.stride, recipe)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_planes, H, W) to (N, planes, H / stride, W / stride)."""
        return F.relu(self.branch(x) + self.downsample(x))


class Bottleneck(BottleneckBranch):
    """A 3x3 convolution between two 1x1 ones, beside a shortcut."""

    expansion = 4

    def __init__(self, in_planes: int, planes: int, geometry: Geometry, recipe: Recipe) -> None:
        stride, dilation, groups = geometry.stride, geometry.dilation, geometry.groups
        width = planes * geometry.group_width // _STEM * groups
        out_planes = self.expansion * planes
        spatial = {"padding": dilation, "dilation": dilation, "groups": groups}
        super().__init__(in_planes, width, out_planes, stride, recipe, spatial=spatial)
        self.downsample = _downsample(in_planes, out_planes, stride, recipe)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_planes, H, W) to (N, 4 planes, H / stride, W / stride)."""
        return F.relu(self.branch(x) + self.downsample(x))


@dataclass(frozen=True)
class Design:
    """What tells one ResNet from another.

    Attributes:
        block: what the stages repeat.
        depths: how many blocks each stage has.
        geometry: of every block, but for stride and dilation.
    """

    block: type[BasicBlock | Bottleneck]
    depths: tuple[int, int, int, int]
    geometry: Geometry = Geometry()


RESNET18 = Design(BasicBlock, (2, 2, 2, 2))
RESNET34 = Design(BasicBlock, (3, 4, 6, 3))
RESNET50 = Design(Bottleneck, (3, 4, 6, 3))
RESNET101 = Design(Bottleneck, (3, 4, 23, 3))
RESNEXT50 = Design(Bottleneck, (3, 4, 6, 3), Geometry(groups=32, group_width=4))


class ResNet(nn.Sequential):
    """A stem, four stages and a classifier: maps (N, 3, H, W) to logits (N, num_classes)."""

    def __init__(self, design: Design, recipe: Recipe) -> None:
        layers = backbone_layers(design, recipe)
        layers["deconv1"] = recipe.channel_deconv()
        layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
        layers["flatten"] = nn.Flatten()
        layers["fc"] = recipe.classifier(512 * design.block.expansion)
        super().__init__(layers)


def backbone_layers(
    design: Design, recipe: Recipe, *, dilated: bool = False
) -> OrderedDict[str, nn.Module]:
    """Makes the stem and the four stages, in order and by their names in a state dict.

    Args:
        design: which ResNet.
        recipe: what it is made of.
        dilated: whether the last two stages dilate instead of striding and so keep a resolution
            of one in eight (Chen et al., 2017).
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv1"] = recipe.conv(3, _STEM, 7, stride=2, padding=3, freeze=True, n_iter=15)
    layers["bn1"] = recipe.batch_norm(_STEM)
    layers["relu"] = nn.ReLU(inplace=True)
    layers["maxpool"] = nn.MaxPool2d(3, stride=2, padding=1)
    for number, stage in enumerate(_stages(design, recipe, dilated), start=1):
        layers[f"layer{number}"] = stage
    return layers


def _stages(design: Design, recipe: Recipe, dilated: bool) -> Iterator[nn.Sequential]:
    in_planes, dilation = _STEM, 1
    for stage, depth in enumerate(design.depths):
        planes = 64 * 2**stage
        step = 2 if stage > 0 else 1
        dilates = dilated and stage >= 2
        # A first block has the dilation of the stage before, and the stride where there is one.
        geometry = replace(design.geometry, stride=1 if dilates else step, dilation=dilation)
        dilation = dilation * step if dilates else dilation
        blocks = []
        for _ in range(depth):
            blocks.append(design.block(in_planes, planes, geometry, recipe))
            in_planes = planes * design.block.expansion
            geometry = replace(design.geometry, dilation=dilation)
        yield nn.Sequential(*blocks)


def _downsample(in_planes: int, out_planes: int, stride: int, recipe: Recipe) -> nn.Sequential:
    if stride == 1 and in_planes == out_planes:
        return nn.Sequential()
    # Published with this one normalisation in both kinds.
    return nn.Sequential(
        recipe.conv(in_planes, out_planes, 1, stride=stride), nn.BatchNorm2d(out_planes)
    )


def resnet18(**options: Any) -> ResNet:  # noqa: ANN401
    """Builds ResNet-18; the options are those of `Recipe`."""
    return ResNet(RESNET18, Recipe(**options))


def resnet34(**options: Any) -> ResNet:  # noqa: ANN401
    """Builds ResNet-34; the options are those of `Recipe`."""
    return ResNet(RESNET34, Recipe(**options))


def resnet50(**options: Any) -> ResNet:  # noqa: ANN401
    """Builds ResNet-50; the options are those of `Recipe`."""
    return ResNet(RESNET50, Recipe(**options))


def resnet101(**options: Any) -> ResNet:  # noqa: ANN401
    """Builds ResNet-101; the options are those of `Recipe`."""
    return ResNet(RESNET101, Recipe(**options))


def resnext50(**options: Any) -> ResNet:  # noqa: ANN401
    """Builds ResNeXt-50 (32x4d); the options are those of `Recipe`."""
    return ResNet(RESNEXT50, Recipe(**options))
