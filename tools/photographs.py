"""Random crops of the photographs that scikit-image carries, to train and compare networks on."""

from __future__ import annotations

import numpy as np
import torch
from skimage import data
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

# Those that come with the package itself; the others it would download.
_NAMES = (
    "astronaut",
    "coffee",
    "chelsea",
    "rocket",
    "hubble_deep_field",
    "retina",
    "camera",
    "moon",
)
_MEAN, _STD = 0.45, 0.25


def classes() -> int:
    """Returns how many photographs there are; which one a crop is from is its label."""
    return len(_NAMES)


def crops(
    count: int, shape: tuple[int, int, int], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draws crops of random photographs, each between 1 and 4 times as large as asked, resized.

    Args:
        count: how many, N.
        shape: channels, height and width of one.
        generator: draws them.

    Returns:
        Normalised images, float32 (N, *shape), and the photographs that they are from, (N,).
    """
    photographs = [_photograph(name) for name in _NAMES]
    labels = torch.randint(len(photographs), (count,), generator=generator)
    images = [_crop(photographs[label], shape, generator) for label in labels.tolist()]
    return (torch.stack(images) - _MEAN) / _STD, labels


def _photograph(name: str) -> Tensor:
    pixels = np.atleast_3d(getattr(data, name)())
    colours = np.broadcast_to(pixels, (*pixels.shape[:2], 3)).transpose(2, 0, 1)
    return torch.from_numpy(colours / np.float32(255))


def _crop(photograph: Tensor, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    channels, *size = shape
    zoom = 1 + 3 * torch.rand((), generator=generator).item()
    tall, wide = (
        min(int(side * zoom), limit) for side, limit in zip(size, photograph.shape[1:], strict=True)
    )
    top, left = (
        int(torch.randint(limit - side + 1, (), generator=generator))
        for side, limit in zip((tall, wide), photograph.shape[1:], strict=True)
    )
    part = photograph[:, top : top + tall, left : left + wide]
    if channels == 1:
        part = part.mean(0, keepdim=True)
    return F.interpolate(part[None], size, mode="area")[0]
