"""FCN (Long et al., 2015) and DeepLabV3 (Chen et al., 2017) on a dilated ResNet-50 or 101."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .blocks import Recipe
from .resnet_imagenet import RESNET50, RESNET101, Design, backbone_layers

_THIRD_STAGE, _LAST_STAGE = 1024, 2048
_ASPP = 256
_ATROUS_RATES = (12, 24, 36)


class Backbone(nn.Sequential):
    """A ResNet without its classifier, at a resolution of one in eight."""

    def __init__(self, design: Design, recipe: Recipe) -> None:
        super().__init__(backbone_layers(design, recipe, dilated=True))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (N, 3, H, W) to the third and the last stage's maps: (N, 1024 or 2048, ...)."""
        *layers, last = self
        for layer in layers:
            x = layer(x)
        return x, last(x)


class Segmentation(nn.Module):
    """A backbone and what classifies every pixel.

    Args:
        backbone: gives the third and the last stage's maps.
        classifier: on the last stage.
        aux_classifier: on the third stage, or None.
    """

    def __init__(
        self, backbone: Backbone, classifier: nn.Module, aux_classifier: nn.Module | None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = classifier
        self.aux_classifier = aux_classifier

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Maps (N, 3, H, W) to logits (N, num_classes, H, W): "out", and maybe "aux"."""
        third, last = self.backbone(x)
        logits = {"out": _resized(self.classifier(last), x)}
        if self.aux_classifier is not None:
            logits["aux"] = _resized(self.aux_classifier(third), x)
        return logits


class ASPPPooling(nn.Sequential):
    """A global average through a convolution, at every pixel."""

    def __init__(self, in_channels: int, recipe: Recipe) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), *_activated(in_channels, _ASPP, 1, recipe))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_channels, H, W) to (N, 256, H, W)."""
        return _resized(super().forward(x), x)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: convolutions of several dilations side by side."""

    def __init__(self, in_channels: int, recipe: Recipe) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Sequential(*_activated(in_channels, _ASPP, 1, recipe))])
        for rate in _ATROUS_RATES:
            self.convs.append(nn.Sequential(*_activated(in_channels, _ASPP, 3, recipe, rate)))
        self.convs.append(ASPPPooling(in_channels, recipe))
        self.project = nn.Sequential(
            *_activated(len(self.convs) * _ASPP, _ASPP, 1, recipe), nn.Dropout(0.5)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_channels, H, W) to (N, 256, H, W)."""
        return self.project(torch.cat([conv(x) for conv in self.convs], 1))


def _activated(
    in_channels: int, out_channels: int, kernel_size: int, recipe: Recipe, dilation: int = 1
) -> list[nn.Module]:
    """Makes a convolution that keeps the resolution, and what follows it."""
    padding = dilation * (kernel_size // 2)
    conv = recipe.conv(in_channels, out_channels, kernel_size, padding=padding, dilation=dilation)
    # Not an identity for the other kind: the keys count the layers of a sequence.
    norm = [recipe.batch_norm(out_channels)] if recipe.norm == "bn" else []
    return [conv, *norm, nn.ReLU()]


def _pixel_classifier(in_channels: int, recipe: Recipe) -> nn.Module:
    """Makes the convolution that computes the logits; all its channels are one block."""
    return recipe.conv(in_channels, recipe.num_classes, 1, bias=True, block=in_channels)


def _fcn_head(in_channels: int, recipe: Recipe) -> nn.Sequential:
    channels = in_channels // 4
    return nn.Sequential(
        *_activated(in_channels, channels, 3, recipe),
        nn.Dropout(0.1),
        _pixel_classifier(channels, recipe),
    )


def _deeplabv3_head(in_channels: int, recipe: Recipe) -> nn.Sequential:
    return nn.Sequential(
        ASPP(in_channels, recipe),
        *_activated(_ASPP, _ASPP, 3, recipe),
        _pixel_classifier(_ASPP, recipe),
    )


def _resized(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def _build(
    design: Design,
    head: Callable[[int, Recipe], nn.Module],
    backbone: str,
    aux: str,
    **options: Any,  # noqa: ANN401
) -> Segmentation:
    # There is no linear layer: the head of a recipe has nothing to decide.
    recipe = Recipe(head="linear", block_fc=1, **options)
    below = replace(recipe, norm="bn") if backbone == "bn" else recipe
    return Segmentation(
        Backbone(design, below),
        head(_LAST_STAGE, recipe),
        _fcn_head(_THIRD_STAGE, recipe) if aux == "on" else None,
    )


def fcn_resnet50(**options: Any) -> Segmentation:  # noqa: ANN401
    """Builds an FCN on ResNet-50; the options are `backbone`, `aux` and those of `Recipe`."""
    return _build(RESNET50, _fcn_head, **options)


def fcn_resnet101(**options: Any) -> Segmentation:  # noqa: ANN401
    """Builds an FCN on ResNet-101; the options are `backbone`, `aux` and those of `Recipe`."""
    return _build(RESNET101, _fcn_head, **options)


def deeplabv3_resnet50(**options: Any) -> Segmentation:  # noqa: ANN401
    """Builds DeepLabV3 on ResNet-50; the options are `backbone`, `aux` and those of `Recipe`."""
    return _build(RESNET50, _deeplabv3_head, **options)


def deeplabv3_resnet101(**options: Any) -> Segmentation:  # noqa: ANN401
    """Builds DeepLabV3 on ResNet-101; the options are `backbone`, `aux` and those of `Recipe`."""
    return _build(RESNET101, _deeplabv3_head, **options)
