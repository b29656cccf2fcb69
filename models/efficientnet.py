"""EfficientNet-B0 for CIFAR (Tan and Le, 2019): all kernels 3x3, ReLU for swish."""

from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .blocks import Recipe
from .mobilenet_v2 import InvertedResidual, Stages, inverted_residuals
from .senet import gate, gate_layers

_STAGES: Stages = (
    (1, 16, 1, 2),
    (6, 24, 2, 1),
    (6, 40, 2, 2),
    (6, 80, 3, 2),
    (6, 112, 3, 1),
    (6, 192, 4, 2),
    (6, 320, 1, 2),
)


class MBConv(InvertedResidual):
    """An inverted residual weighed channel by channel.

    Where strided, the branch before its weights stands in for the shortcut.
    """

    def __init__(
        self, in_planes: int, out_planes: int, expansion: int, stride: int, recipe: Recipe
    ) -> None:
        super().__init__(in_planes, out_planes, expansion, stride, recipe)
        self.fc1, self.fc2 = gate_layers(out_planes, recipe)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_planes, H, W) to (N, out_planes, H / stride, W / stride)."""
        out = self.branch(x)
        shortcut = self.shortcut(x) if self.residual else out
        return out * gate(out, self.fc1, self.fc2) + shortcut


class EfficientNet(nn.Module):
    """A stem, seven stages of inverted residuals that end in single pixels, and a classifier.

    As published, only the stem and the head are ND layers; the stages are batch-normalised.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.conv1 = recipe.stem(32)
        self.bn1 = recipe.batch_norm(32)
        self.layers = inverted_residuals(MBConv, _STAGES, replace(recipe, norm="bn"))
        self.deconv1 = recipe.channel_deconv()
        self.linear = recipe.classifier(_STAGES[-1][1])

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 3, 32, 32) to logits (N, num_classes)."""
        out = self.layers(F.relu(self.bn1(self.conv1(x))))
        return self.linear(self.deconv1(out.flatten(1)))


def efficientnet_b0(**options: Any) -> EfficientNet:  # noqa: ANN401
    """Builds EfficientNet-B0; the options are those of `Recipe`."""
    return EfficientNet(Recipe(**options))
