"""The frame of most networks: a stem, stages of blocks, and a classifier of averaged features."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .blocks import Conv, Recipe


class ResidualBlock(Protocol):
    """A class of blocks that stages repeat; a block has `expansion` times `planes` outputs."""

    expansion: int

    def __call__(self, in_planes: int, planes: int, stride: int, recipe: Recipe) -> nn.Module:
        """Makes a block."""


class StagedNet(nn.Module):
    """A stem, stages under the keys layer1, layer2, ..., and a classifier.

    Args:
        stem: the first convolution.
        stages: what follows it, in order.
        features: channels that leave the last stage.
        recipe: what the rest is made of.
        pool: height and width of the maps that leave the last stage.
    """

    def __init__(
        self,
        stem: Conv,
        stages: Iterable[nn.Module],
        features: int,
        recipe: Recipe,
        pool: int = 4,
    ) -> None:
        super().__init__()
        self.conv1 = stem
        self.bn1 = recipe.batch_norm(stem.out_channels)
        self.stages: list[str] = []
        for number, stage in enumerate(stages, start=1):
            self.stages.append(f"layer{number}")
            self.add_module(self.stages[-1], stage)
        self.pool = pool
        self.deconv1 = recipe.channel_deconv()
        self.linear = recipe.classifier(features)

    def stem(self, x: Tensor) -> Tensor:
        """Maps (N, 3, H, W) to what enters the first stage."""
        return F.relu(self.bn1(self.conv1(x)))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 3, 32, 32) to logits (N, num_classes)."""
        out = self.stem(x)
        for stage in self.stages:
            out = getattr(self, stage)(out)
        out = F.avg_pool2d(self.deconv1(out), self.pool)
        return self.linear(out.flatten(1))


def residual_stages(
    block: ResidualBlock, widths: Iterable[int], depths: Iterable[int], recipe: Recipe
) -> Iterator[nn.Sequential]:
    """Makes stages of residual blocks, each but the first halving the resolution.

    Args:
        block: what the stages repeat.
        widths: `planes` of the blocks of each stage.
        depths: how many blocks each stage has.
        recipe: what they are made of.

    Yields:
        The stages, the first of which takes 64 channels.
    """
    in_planes = 64
    for stage, (planes, depth) in enumerate(zip(widths, depths, strict=True)):
        blocks = []
        for index in range(depth):
            stride = 2 if stage > 0 and index == 0 else 1
            blocks.append(block(in_planes, planes, stride, recipe))
            in_planes = planes * block.expansion
        yield nn.Sequential(*blocks)
