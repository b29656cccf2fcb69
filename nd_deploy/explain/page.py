"""One HTML page that needs nothing but itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from nd_deploy.explain.explanation import Explanation
from nd_deploy.explain.image_kernels import METHODS, ImageKernels
from nd_deploy.explain.kernels import FirstConvolution, Wide, shown_channels, sums_of
from nd_deploy.explain.pictures import IMAGE_KERNELS, KERNELS, SPECTRUM
from nd_deploy.explain.spectrum import LayerSpectrum, remark_on
from nd_deploy.page.document import document
from nd_deploy.page.markup import bullets, figure, section, table
from nd_deploy.page.picture import Picture

_FOOTER = (
    "Network Deconvolution: Ye et al., ICLR 2020, arXiv 1905.11926. The numbers behind the "
    "pictures are in explain.json."
)


def page(explanation: Explanation, pictures: Mapping[str, Picture]) -> str:
    """Write the page.

    Args:
        explanation: the numbers.
        pictures: by the names of their files.

    Returns:
        HTML.
    """
    title = f"What D does in {explanation.subject}" if explanation.subject else "What D does"
    parts = [_introduction(title), bullets(explanation.notes())]
    spectra, images = explanation.spectra, explanation.images
    if spectra is not None:
        parts.append(_spectrum(spectra.layers, pictures[SPECTRUM]))
        parts.append(_kernels(spectra.first, pictures.get(KERNELS)))
    if images is not None:
        parts.append(_images(images, pictures[IMAGE_KERNELS]))
    body = "\n".join(part for part in parts if part)
    return document(title, body, _FOOTER)


def _introduction(title: str) -> str:
    return (
        f"<header>\n<h1>{escape(title)}</h1>\n"
        "<p>Network Deconvolution whitens what a layer reads with a matrix "
        "D ≈ (Cov + ε I)<sup>&minus;1/2</sup>, so that its features are no longer correlated. "
        "These pictures show D itself, and not the weights that were learnt behind it.</p>\n"
        "</header>"
    )


def _spectrum(layers: Sequence[LayerSpectrum], picture: Picture) -> str:
    rows = [
        (
            layer.layer or "(the network itself)",
            layer.kind,
            f"{layer.eigenvalues.shape[0]} x {layer.eigenvalues.shape[1]}",
            *_quantiles(layer),
            _number(layer.condition),
            str(layer.n_iter or ""),
            "" if layer.bound is None else _number(layer.bound),
            remark_on(layer),
        )
        for layer in layers
    ]
    numbers = table(
        "D in each layer; bound: what cond(D) cannot exceed after n Newton-Schulz steps, 1.5ⁿ",
        _SPECTRUM,
        rows,
    )
    return section(
        "Spectrum of D",
        "<p>An eigenvalue of D says how much one direction among the features is amplified: "
        "much where the data vary little. cond(D) is the largest over the smallest.</p>",
        figure(picture, "Eigenvalues of D in each ND layer, and cond(D)."),
        numbers,
    )


def _kernels(first: FirstConvolution | None, picture: Picture | None) -> str:
    if first is None or picture is None:
        return section(
            "Kernels of D", "<p>The network has no ND convolution, so D has no kernels.</p>"
        )
    channels = shown_channels(first)
    rows = [
        (str(channel), *_sums(whole, channel))
        for channel, whole in zip(channels, first.kernels(channels), strict=True)
    ]
    shared = ""
    if first.shared_by > 1:
        shared = (
            f" {first.shared_by} blocks of its features share D, each of which has every "
            f"{first.shared_by}th entry of a patch; at the others a kernel is 0."
        )
    return section(
        f"Kernels of D in the first convolution, {first.layer or 'the network itself'}",
        "<p>A row of D laid out as a patch: what the pixel in the middle is whitened with. A "
        "centre against an opposite surround answers to edges and not to even brightness, as "
        f"ganglion cells of the retina do.{escape(shared)}</p>",
        figure(picture, "Weights by which the central pixel is whitened.", wide=False),
        table("Sums of the weights", _SUMS, rows),
    )


def _images(found: ImageKernels, picture: Picture) -> str:
    names = {
        "newton_schulz": f"{found.settings.n_iter} Newton-Schulz steps",
        "exact": "exact inverse root",
    }
    rows = [
        (what, names[method], *_mean_sums(kernels[method]))
        for what, kernels in (("all patches", found.pooled), ("mean of images", found.mean))
        for method in METHODS
    ]
    settings = found.settings
    channels = "brightness" if found.channels == 1 else "red, green and blue"
    return section(
        "Kernels of D from images",
        f"<p>D of {settings.patch} x {settings.patch} patches of {len(found.images)} images, in "
        f"{channels} from 0 to 1, with ε = {settings.eps:g}. On the left, D of the "
        "covariance of all patches together. On the right, each image's own D, whose kernels "
        "are divided by their largest weight and averaged, so that every image counts alike. "
        "Above, D as the paper computes it; below, the exact inverse root. "
        f"cond(D) of all patches is {_number(found.condition['newton_schulz'])} above, where "
        f"{settings.n_iter} steps allow {_number(1.5**settings.n_iter)}, and "
        f"{_number(found.condition['exact'])} below.</p>",
        figure(picture, "Kernels from images, scaled to a largest weight of 1."),
        table("Sums of the weights, mean over the channels", ("kernels", "D by", *_SUMS[1:]), rows),
    )


_SPECTRUM = (
    "layer",
    "type",
    ">matrices x F",
    ">smallest",
    ">median",
    ">largest",
    ">cond(D)",
    ">n",
    ">bound",
    "remark",
)
_SUMS = ("channel", ">centre", ">own surround", ">other channels", ">all")


def _sums(kernel: Wide, channel: int) -> tuple[str, ...]:
    sums = sums_of(kernel, channel)
    return tuple(map(_number, (sums.centre, sums.surround, sums.others, sums.whole)))


def _mean_sums(kernels: Wide) -> tuple[str, ...]:
    each = [sums_of(kernel, channel) for channel, kernel in enumerate(kernels)]
    values = [(sums.centre, sums.surround, sums.others, sums.whole) for sums in each]
    return tuple(_number(float(value)) for value in np.mean(values, 0))


def _quantiles(layer: LayerSpectrum) -> tuple[str, ...]:
    if not layer.is_read:
        return ("", "", "")
    return tuple(_number(float(value)) for value in np.quantile(layer.eigenvalues, (0, 0.5, 1)))


def _number(value: float) -> str:
    if math.isnan(value):
        return ""
    return "infinite" if math.isinf(value) else f"{value:.3g}"
