"""The kernels of D from a set of images: of all their patches together, and image by image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nd_deploy.errors import InputError
from nd_deploy.explain.images import ImageFile, is_grey, read_pixels
from nd_deploy.explain.kernels import central_kernels, profile
from nd_deploy.explain.whitening import (
    PatchStatistics,
    draw_patches,
    exact_inverse_root,
    newton_schulz,
    statistics_of,
)
from nd_deploy.fold.conditioning import condition_number

Wide = NDArray[np.float64]

METHODS = ("newton_schulz", "exact")


@dataclass(frozen=True)
class Settings:
    """How D is computed from images.

    Attributes:
        patch: the size of a square patch, odd.
        eps: what is added to the covariance's diagonal, for pixels from 0 to 1.
        n_iter: the Newton-Schulz steps.
        patches: how many to take from an image at most.
        seed: of their places, and of the images where there are too many.
    """

    patch: int = 15
    eps: float = 1e-5
    n_iter: int = 15
    patches: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.patch < 3 or self.patch % 2 == 0:
            raise InputError(
                f"a patch of {self.patch} pixels has no centre with a surround",
                "give an odd --patch of at least 3, such as 15",
            )
        if not self.eps > 0:
            raise InputError(f"eps is {self.eps}", "give an --eps over 0, such as 1e-5")


@dataclass(frozen=True)
class ImageRecord:
    """What one image came to.

    Attributes:
        name: the file's name.
        patches: how many were taken of it.
        peak: its kernels' largest entry by method; it divides them before they are averaged.
    """

    name: str
    patches: int
    peak: dict[str, float]


@dataclass(frozen=True)
class ImageKernels:
    """The kernels of D from images; each array is (C, C, patch, patch), by method.

    Attributes:
        settings: how they were computed.
        channels: C, 1 for brightness or 3 for colour.
        images: what entered, one by one.
        left_out: names of grey images, where the others are coloured.
        pooled: of the covariance of all patches, over their largest entry.
        pooled_peak: that entry.
        mean: of each image's own kernels over their own largest entry.
        spread: their standard deviation from image to image.
        condition: cond(D) of all patches together.
    """

    settings: Settings
    channels: int
    images: tuple[ImageRecord, ...]
    left_out: tuple[str, ...]
    pooled: dict[str, Wide]
    pooled_peak: dict[str, float]
    mean: dict[str, Wide]
    spread: dict[str, Wide]
    condition: dict[str, float]

    @property
    def features(self) -> int:
        """F, the entries of a patch."""
        return self.channels * self.settings.patch**2

    @property
    def disagreement(self) -> float:
        """Largest difference of the pooled kernels by both methods, each scaled to a peak of 1."""
        return float(np.abs(self.pooled["newton_schulz"] - self.pooled["exact"]).max())

    def as_dict(self) -> dict[str, Any]:
        """The kernels as JSON-ready fields."""
        settings = self.settings
        return {
            "patch": settings.patch,
            "eps": settings.eps,
            "n_iter": settings.n_iter,
            "seed": settings.seed,
            "channels": ["brightness"] if self.channels == 1 else ["red", "green", "blue"],
            "images": [vars(image) for image in self.images],
            "left_out_because_grey": list(self.left_out),
            "condition": self.condition,
            "largest_difference_of_methods": self.disagreement,
            "pooled": {
                method: {
                    "peak": self.pooled_peak[method],
                    "kernels_over_peak": self.pooled[method].tolist(),
                    "profile": profile(self.pooled[method]).tolist(),
                }
                for method in METHODS
            },
            "mean_over_images": {
                method: {
                    "kernels_over_own_peak": self.mean[method].tolist(),
                    "standard_deviation": self.spread[method].tolist(),
                    "profile": profile(self.mean[method]).tolist(),
                }
                for method in METHODS
            },
        }


def kernels_of_images(
    files: Sequence[ImageFile],
    settings: Settings,
    grey: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> ImageKernels:
    """Compute the kernels of D from images.

    The average weighs every image alike: its kernels are divided by their largest entry first,
    because D grows without bound where an image is flat.

    Args:
        files: the images.
        settings: how.
        grey: look at brightness alone, which is done anyway where no image has any colour.
        report: called with a line of text for each image.

    Returns:
        The kernels, in float64.

    Raises:
        InputError: an image is smaller than a patch, or damaged.
    """
    for file in files:
        _check_size(file, settings.patch)
    grey = grey or all(is_grey(read_pixels(file, grey=False)) for file in files)
    pool = _Pool()
    left_out: list[str] = []
    for index, file in enumerate(files):
        pixels = read_pixels(file, grey)
        if not grey and is_grey(pixels):
            left_out.append(file.name)
            continue
        report(f"image {index + 1} of {len(files)}: {file.name}")
        generator = np.random.default_rng([settings.seed, index])
        patches = draw_patches(pixels, settings.patch, settings.patches, generator)
        statistics = statistics_of(patches)
        pool.add(file.name, statistics, _kernels(_deconv(statistics, settings), settings))
    assert pool.statistics is not None
    deconv = _deconv(pool.statistics, settings)
    pooled = _kernels(deconv, settings)
    peak = {method: float(np.abs(pooled[method]).max()) for method in METHODS}
    mean, spread = pool.average()
    return ImageKernels(
        settings,
        1 if grey else 3,
        tuple(pool.records),
        tuple(left_out),
        {method: pooled[method] / peak[method] for method in METHODS},
        peak,
        mean,
        spread,
        {method: condition_number(D) for method, D in deconv.items()},
    )


class _Pool:
    """Sums over images, so that one image at a time is in memory."""

    def __init__(self) -> None:
        self.statistics: PatchStatistics | None = None
        self.records: list[ImageRecord] = []
        self._mean: dict[str, Wide] = {}
        self._squares: dict[str, Wide] = {}

    def add(self, name: str, statistics: PatchStatistics, kernels: dict[str, Wide]) -> None:
        seen = self.statistics
        self.statistics = statistics if seen is None else seen.merged(statistics)
        peak = {method: float(np.abs(kernels[method]).max()) for method in METHODS}
        self.records.append(ImageRecord(name, statistics.count, peak))
        for method in METHODS:
            # Welford's update: of nearly equal kernels, a sum of squares would leave nothing.
            own = kernels[method] / peak[method]
            before = self._mean.get(method, np.zeros_like(own))
            after = before + (own - before) / len(self.records)
            self._mean[method] = after
            self._squares[method] = self._squares.get(method, 0.0) + (own - before) * (own - after)

    def average(self) -> tuple[dict[str, Wide], dict[str, Wide]]:
        count = len(self.records)
        return self._mean, {m: np.sqrt(squares / count) for m, squares in self._squares.items()}


def _deconv(statistics: PatchStatistics, settings: Settings) -> dict[str, Wide]:
    """D by each method."""
    covariance, eps = statistics.covariance, settings.eps
    return {
        "newton_schulz": newton_schulz(covariance, eps, settings.n_iter),
        "exact": exact_inverse_root(covariance, eps),
    }


def _kernels(deconv: dict[str, Wide], settings: Settings) -> dict[str, Wide]:
    channels = len(deconv["exact"]) // settings.patch**2
    return {method: central_kernels(D, channels, settings.patch) for method, D in deconv.items()}


def _check_size(file: ImageFile, patch: int) -> None:
    height, width = file.size
    if min(file.size) < patch:
        raise InputError(
            f"{file.name} is {width}x{height} pixels, which is smaller than a patch of "
            f"{patch}x{patch}",
            "take it out of the folder, or give a smaller --patch",
        )
