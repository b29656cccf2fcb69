"""SENet-18 for CIFAR (Hu et al., 2018): pre-activation blocks with squeeze and excitation."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .blocks import Conv, Recipe
from .preact_resnet import WIDTHS, PreActBlock
from .staged import StagedNet, residual_stages


def gate_layers(channels: int, recipe: Recipe) -> tuple[Conv, Conv]:
    """Makes the two 1x1 convolutions that weigh channels."""
    squeezed = channels // 16
    return (
        recipe.conv(channels, squeezed, 1, bias=True),
        recipe.conv(squeezed, channels, 1, bias=True),
    )


def gate(x: Tensor, fc1: nn.Module, fc2: nn.Module) -> Tensor:
    """Computes the weights (N, C, 1, 1) of the channels of square maps (N, C, H, H)."""
    out = F.avg_pool2d(x, x.shape[2])
    return fc2(F.relu(fc1(out))).sigmoid()


class PreActSEBlock(PreActBlock):
    """A pre-activation block whose branch is weighed channel by channel."""

    def __init__(self, in_planes: int, planes: int, stride: int, recipe: Recipe) -> None:
        super().__init__(in_planes, planes, stride, recipe)
        self.fc1, self.fc2 = gate_layers(planes, recipe)

    def branch(self, out: Tensor) -> Tensor:
        """Maps the activated input to (N, planes, H / stride, W / stride)."""
        out = super().branch(out)
        return out * gate(out, self.fc1, self.fc2)


def senet18(**options: Any) -> StagedNet:  # noqa: ANN401
    """Builds SENet-18; the options are those of `Recipe`."""
    recipe = Recipe(**options)
    stages = residual_stages(PreActSEBlock, WIDTHS, (2, 2, 2, 2), recipe)
    return StagedNet(recipe.stem(64, n_iter=15), stages, WIDTHS[-1], recipe)
