"""What the networks are made of: layers that are either deconvolved or batch-normalised."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from nd_deploy.nd.layers import ChannelDeconv, Delinear, FastDeconv

Conv = nn.Conv2d | FastDeconv
"""A convolution of either kind."""


@dataclass(frozen=True)
class Recipe:
    """The choices that run through a whole network, and the layers that follow from them.

    A network asks for its layers here and is thereby written once for both kinds: where one kind
    has no layer it gets an `nn.Identity`, which adds no key to the state dict.

    Attributes:
        num_classes: how many logits.
        norm: "nd" for FastDeconv, "bn" for Conv2d with BatchNorm2d.
        head: "linear", "delinear", or "channel_deconv" for a ChannelDeconv in front of a Linear.
        block: of the FastDeconvs.
        block_fc: of the head.
        eps: of all ND layers.
        n_iter: of the ND layers that are not given their own.
        sampling_stride: of the ND layers that have one.
    """

    num_classes: int
    norm: str
    head: str
    block: int
    block_fc: int
    eps: float
    n_iter: int
    sampling_stride: int

    def conv(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
        **deconv: Any,  # noqa: ANN401
    ) -> Conv:
        """Makes a convolution.

        Args:
            in_channels: as in `nn.Conv2d`.
            out_channels: as in `nn.Conv2d`.
            kernel_size: as in `nn.Conv2d`.
            stride: as in `nn.Conv2d`.
            padding: as in `nn.Conv2d`.
            dilation: as in `nn.Conv2d`.
            groups: as in `nn.Conv2d`.
            bias: of the batch-normalised kind alone; a FastDeconv always has one.
            **deconv: arguments for FastDeconv that go before those of the recipe.
        """
        if self.norm == "bn":
            return nn.Conv2d(
                in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
            )
        shared = {
            "eps": self.eps,
            "n_iter": self.n_iter,
            "block": self.block,
            "sampling_stride": self.sampling_stride,
        }
        return FastDeconv(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups=groups,
            **{**shared, **deconv},
        )

    def stem(self, out_channels: int, kernel_size: int = 3, n_iter: int = 10) -> Conv:
        """Makes the first convolution, of an image, whose finer whitening freezes early."""
        padding = kernel_size // 2
        return self.conv(3, out_channels, kernel_size, padding=padding, freeze=True, n_iter=n_iter)

    def batch_norm(self, channels: int) -> nn.Module:
        """Makes what stands between a convolution and its activation."""
        return nn.BatchNorm2d(channels) if self.norm == "bn" else nn.Identity()

    def projection(self, in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
        """Makes the 1x1 convolution of a residual branch that changes the shape."""
        return nn.Sequential(
            self.conv(in_channels, out_channels, 1, stride=stride), self.batch_norm(out_channels)
        )

    def channel_deconv(self) -> nn.Module:
        """Makes what stands before the final pooling."""
        if self.head != "channel_deconv":
            return nn.Identity()
        return ChannelDeconv(
            self.block_fc,
            eps=self.eps,
            n_iter=self.n_iter,
            sampling_stride=self.sampling_stride,
        )

    def classifier(self, in_features: int) -> nn.Module:
        """Makes the layer that computes the logits."""
        if self.head != "delinear":
            return nn.Linear(in_features, self.num_classes)
        return Delinear(
            in_features, self.num_classes, eps=self.eps, n_iter=self.n_iter, block=self.block_fc
        )


class BasicBranch(nn.Module):
    """Two 3x3 convolutions, for a block that adds its shortcut.

    Args:
        in_planes: channels of the input.
        planes: channels of the output.
        stride: of the first convolution.
        recipe: what they are made of.
    """

    def __init__(self, in_planes: int, planes: int, stride: int, recipe: Recipe) -> None:
        super().__init__()
        self.conv1 = recipe.conv(in_planes, planes, 3, stride=stride, padding=1)
        self.bn1 = recipe.batch_norm(planes)
        self.conv2 = recipe.conv(planes, planes, 3, padding=1)
        self.bn2 = recipe.batch_norm(planes)

    def branch(self, x: Tensor) -> Tensor:
        """Maps (N, in_planes, H, W) to (N, planes, H / stride, W / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(out))


class BottleneckBranch(nn.Module):
    """A 3x3 convolution between two 1x1 ones: what many residual blocks compute.

    A block inherits it and adds its own shortcut.

    Args:
        in_planes: channels of the input.
        planes: channels of the 3x3 convolution.
        out_planes: channels of the output.
        stride: of the 3x3 convolution.
        recipe: what it is made of.
        spatial: further arguments of `Recipe.conv` for the 3x3 convolution.
        last: further arguments of `Recipe.conv` for the last convolution.
    """

    def __init__(
        self,
        in_planes: int,
        planes: int,
        out_planes: int,
        stride: int,
        recipe: Recipe,
        *,
        spatial: Mapping[str, Any] | None = None,
        last: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.conv1 = recipe.conv(in_planes, planes, 1)
        self.bn1 = recipe.batch_norm(planes)
        geometry = {"stride": stride, "padding": 1, **(spatial or {})}
        self.conv2 = recipe.conv(planes, planes, 3, **geometry)
        self.bn2 = recipe.batch_norm(planes)
        self.conv3 = recipe.conv(planes, out_planes, 1, **(last or {}))
        self.bn3 = recipe.batch_norm(out_planes)

    def branch(self, x: Tensor) -> Tensor:
        """Maps (N, in_planes, H, W) to (N, out_planes, H / stride, W / stride), not activated."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        return self.bn3(self.conv3(out))
