"""One HTML page that needs nothing but itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from nd_deploy import __version__
from nd_deploy.explain.explanation import Explanation
from nd_deploy.explain.image_kernels import METHODS, ImageKernels
from nd_deploy.explain.kernels import FirstConvolution, Wide, shown_channels, sums_of
from nd_deploy.explain.markup import figure, section, table
from nd_deploy.explain.pictures import IMAGE_KERNELS, KERNELS, SPECTRUM, Picture
from nd_deploy.explain.spectrum import LayerSpectrum, remark_on

_STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1a1a1a; --rule: #d9d9d9;
  --soft: #5a5a5a; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16181d; --ink: #e6e6e6; --rule: #3a3d45; --soft: #a8abb2; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 56rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { font-size: 1.25rem; margin-top: 2.5rem; }
figure { margin: 1rem 0; } figcaption, caption, footer { color: var(--soft); font-size: .9rem; }
.wide { overflow-x: auto; }
img { display: block; max-width: 100%; height: auto; }
.wide img { max-width: none; width: max(100%, 34rem); }
table { border-collapse: collapse; font-size: .9rem; overflow-wrap: normal; }
caption { text-align: left; padding-bottom: .4rem; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid var(--rule); text-align: left;
  vertical-align: top; }
td.number, th.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
footer { margin-top: 3rem; border-top: 1px solid var(--rule); padding-top: .5rem; }
"""
# Whatever a layer is called, the page runs nothing and fetches nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(explanation: Explanation, pictures: Mapping[str, Picture]) -> str:
    """Write the page.

    Args:
        explanation: the numbers.
        pictures: by the names of their files.

    Returns:
        HTML.
    """
    title = f"What D does in {explanation.subject}" if explanation.subject else "What D does"
    parts = [_introduction(title), _notes(explanation.notes())]
    spectra, images = explanation.spectra, explanation.images
    if spectra is not None:
        parts.append(_spectrum(spectra.layers, pictures[SPECTRUM]))
        parts.append(_kernels(spectra.first, pictures.get(KERNELS)))
    if images is not None:
        parts.append(_images(images, pictures[IMAGE_KERNELS]))
    body = "\n".join(part for part in parts if part)
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"{body}\n</main>\n<footer>\n<p>Made by nd-deploy {escape(__version__)}. Network "
        "Deconvolution: Ye et al., ICLR 2020, arXiv 1905.11926. The numbers behind the pictures "
        "are in explain.json.</p>\n</footer>\n</body>\n</html>\n"
    )


def _introduction(title: str) -> str:
    return (
        f"<header>\n<h1>{escape(title)}</h1>\n"
        "<p>Network Deconvolution whitens what a layer reads with a matrix "
        "D ≈ (Cov + ε I)<sup>&minus;1/2</sup>, so that its features are no longer correlated. "
        "These pictures show D itself, and not the weights that were learnt behind it.</p>\n"
        "</header>"
    )


def _notes(notes: Sequence[str]) -> str:
    items = "\n".join(f"<li>{escape(note)}</li>" for note in notes)
    return f"<ul>\n{items}\n</ul>" if notes else ""


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
