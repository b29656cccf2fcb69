"""What a bundle keeps of each D, as arrays: a folded network does not hold D any more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nd_deploy.explain.kernels import FirstConvolution
from nd_deploy.explain.spectrum import LayerSpectrum

_UNKNOWN = 0


@dataclass(frozen=True)
class Spectra:
    """What is to be explained of a network.

    Attributes:
        layers: the spectrum of every ND layer's D, in the order of the network's modules.
        first: the D of the first ND convolution, if there is one.
    """

    layers: tuple[LayerSpectrum, ...]
    first: FirstConvolution | None


def to_arrays(spectra: Spectra) -> dict[str, NDArray[Any]]:
    """Lay the spectra out as arrays by name, for an .npz file."""
    arrays: dict[str, NDArray[Any]] = {
        "layers": np.array([layer.layer for layer in spectra.layers], np.str_),
        "kinds": np.array([layer.kind for layer in spectra.layers], np.str_),
        "n_iter": np.array([layer.n_iter or _UNKNOWN for layer in spectra.layers], np.int64),
    }
    for index, layer in enumerate(spectra.layers):
        arrays[f"eigenvalues/{index}"] = layer.eigenvalues
    if spectra.first is not None:
        first = spectra.first
        arrays["first/layer"] = np.array([first.layer], np.str_)
        arrays["first/geometry"] = np.array([first.channels, *first.kernel], np.int64)
        arrays["first/deconv"] = first.deconv
    return arrays


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Spectra:
    """Read what `to_arrays` laid out.

    Raises:
        ValueError: an array is missing or has another shape.
    """
    try:
        names, kinds, n_iter = (arrays[name].tolist() for name in ("layers", "kinds", "n_iter"))
        layers = tuple(
            LayerSpectrum(layer, kind, _of_rank(arrays[f"eigenvalues/{index}"], 2), steps or None)
            for index, (layer, kind, steps) in enumerate(zip(names, kinds, n_iter, strict=True))
        )
        return Spectra(layers, _first(arrays) if "first/layer" in arrays else None)
    except KeyError as error:
        raise ValueError(f"it lacks {error.args[0]}") from error


def _first(arrays: Mapping[str, NDArray[Any]]) -> FirstConvolution:
    channels, height, width = arrays["first/geometry"].tolist()
    deconv = _of_rank(arrays["first/deconv"], 3)
    first = FirstConvolution(arrays["first/layer"].tolist()[0], deconv, channels, (height, width))
    if first.shared_by * deconv.shape[-1] * first.groups != channels * height * width:
        raise ValueError(f"D {deconv.shape} does not fit {channels} channels of {height}x{width}")
    return first


def _of_rank(array: NDArray[Any], rank: int) -> NDArray[Any]:
    if array.ndim != rank or not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"an array is {array.dtype} {array.shape}")
    return array
