"""A small network for 8x8 digits that holds one of everything there is to deploy."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from nd_deploy.nd.layers import ChannelDeconv

from .blocks import Recipe

_CHANNELS = (32, 64, 64, 80)


class Digits(nn.Module):
    """Four FastDeconvs, a ChannelDeconv before the pooling, and a Delinear.

    The FastDeconvs are a stem, a strided one of several blocks, a depthwise one and a 1x1 one;
    the ChannelDeconv has channels left over.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        stem, wide, depthwise, last = _CHANNELS
        self.conv1 = recipe.conv(1, stem, 3, padding=1, freeze=True, n_iter=10)
        self.bn1 = recipe.batch_norm(stem)
        self.conv2 = recipe.conv(stem, wide, 3, stride=2, padding=1)
        self.bn2 = recipe.batch_norm(wide)
        self.conv3 = recipe.conv(wide, depthwise, 3, padding=1, groups=depthwise, n_iter=1)
        self.bn3 = recipe.batch_norm(depthwise)
        self.conv4 = recipe.conv(depthwise, last, 1)
        self.bn4 = recipe.batch_norm(last)
        self.deconv1: nn.Module = nn.Identity()
        if recipe.norm == "nd":
            self.deconv1 = ChannelDeconv(
                recipe.block_fc, recipe.eps, recipe.n_iter, sampling_stride=recipe.sampling_stride
            )
        self.linear = recipe.classifier(last)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 1, 8, 8) to logits (N, num_classes)."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.relu(self.bn3(self.conv3(x)))
        x = F.relu(self.bn4(self.conv4(x)))
        x = F.avg_pool2d(self.deconv1(x), 4)
        return self.linear(x.flatten(1))


def digits(**options: Any) -> Digits:  # noqa: ANN401
    """Builds the network; the options are those of `Recipe` but for the head, which is fixed."""
    head = "delinear" if options["norm"] == "nd" else "linear"
    return Digits(Recipe(head=head, **options))
