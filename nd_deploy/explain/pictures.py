"""The pictures of an explanation, with what they show in words for those who do not see them."""

from __future__ import annotations

import numpy as np

from nd_deploy.explain.charts import spectrum_chart
from nd_deploy.explain.explanation import Explanation
from nd_deploy.explain.image_kernels import ImageKernels
from nd_deploy.explain.kernel_charts import image_kernel_chart, kernel_chart
from nd_deploy.explain.kernels import (
    FirstConvolution,
    profile,
    shown_channels,
    sums_of,
)
from nd_deploy.explain.spectrum import LayerSpectrum
from nd_deploy.page.picture import Picture, draw_both

SPECTRUM = "spectrum.png"
KERNELS = "kernels.png"
IMAGE_KERNELS = "kernels_images.png"


def draw(explanation: Explanation) -> dict[str, Picture]:
    """Draw what there is to see.

    Args:
        explanation: the numbers.

    Returns:
        Pictures by the names of their files.
    """
    pictures: dict[str, Picture] = {}
    spectra, images = explanation.spectra, explanation.images
    if spectra is not None:
        layers, first = spectra.layers, spectra.first
        pictures[SPECTRUM] = draw_both(
            lambda theme: spectrum_chart(layers, theme), _spectrum_in_words(layers)
        )
        if first is not None:
            pictures[KERNELS] = draw_both(
                lambda theme: kernel_chart(first, theme), _kernels_in_words(first)
            )
    if images is not None:
        pictures[IMAGE_KERNELS] = draw_both(
            lambda theme: image_kernel_chart(images, theme), _images_in_words(images)
        )
    return pictures


def _spectrum_in_words(layers: tuple[LayerSpectrum, ...]) -> str:
    read = [layer for layer in layers if layer.is_read]
    if not read:
        return f"Eigenvalues of D of {len(layers)} layers, none of which reads its D."
    smallest = min(layer.eigenvalues.min() for layer in read)
    largest = max(layer.eigenvalues.max() for layer in read)
    worst = max(read, key=lambda layer: layer.condition)
    return (
        f"Chart of the eigenvalues of D of {len(layers)} layers, from {smallest:.2g} to "
        f"{largest:.2g}. The largest condition number is {worst.condition:.3g}, of the layer "
        f"{worst.layer or 'itself'}. The table below has the numbers."
    )


def _kernels_in_words(first: FirstConvolution) -> str:
    channels = shown_channels(first)
    sums = [
        sums_of(kernel, channel)
        for channel, kernel in zip(channels, first.kernels(channels), strict=True)
    ]
    told = "; ".join(
        f"channel {channel}: {found.centre:.2g} and {found.surround:.2g}"
        for channel, found in zip(channels, sums, strict=True)
    )
    height, width = first.kernel
    return (
        f"Kernels of {height} by {width} taps. Of each channel's own kernel, the central weight "
        f"and the sum of those around it: {told}."
    )


def _images_in_words(found: ImageKernels) -> str:
    own = np.einsum("cchw->chw", found.pooled["newton_schulz"])
    rings = profile(own).mean(0)
    told = ", ".join(f"{ring:.2g}" for ring in rings[:4])
    return (
        f"Kernels of {found.settings.patch} by {found.settings.patch} taps from "
        f"{len(found.images)} images. From the centre outwards, a channel's own weights average "
        f"{told}, in parts of the largest weight."
    )
