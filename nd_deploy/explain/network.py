"""From a network to what is explained of it."""

from __future__ import annotations

from torch import Tensor, nn

from nd_deploy.explain.kernels import FirstConvolution
from nd_deploy.explain.record import Spectra
from nd_deploy.explain.spectrum import LayerSpectrum
from nd_deploy.nd.recognise import NDLayer, Recognition, running_deconv


def spectra_of(module: nn.Module, recognition: Recognition) -> Spectra:
    """Take the spectrum of every D of a network, and the D of its first ND convolution.

    Args:
        module: the network that was recognised; not changed.
        recognition: its ND layers.

    Returns:
        The spectra, in float64.
    """
    layers = tuple(_spectrum(module, found) for found in recognition.layers)
    convolutions = (
        found for found in recognition.layers if _is_convolution(module.get_submodule(found.path))
    )
    first = next(convolutions, None)
    return Spectra(layers, None if first is None else _first(module, first))


def _spectrum(module: nn.Module, found: NDLayer) -> LayerSpectrum:
    layer = module.get_submodule(found.path)
    n_iter = getattr(layer, "n_iter", None)
    return LayerSpectrum(
        found.path,
        found.formula.name,
        found.eigenvalues,
        n_iter if isinstance(n_iter, int) and n_iter > 0 else None,
    )


def _is_convolution(layer: nn.Module) -> bool:
    """Whether D whitens the patches that a convolution reads; a transposed one adds patches up."""
    weight = getattr(layer, "weight", None)
    transposed = getattr(layer, "transposed", hasattr(layer, "output_padding"))
    return isinstance(weight, Tensor) and weight.dim() in (3, 4) and not transposed


def _first(module: nn.Module, found: NDLayer) -> FirstConvolution:
    layer = module.get_submodule(found.path)
    deconv = running_deconv(layer)
    weight = layer.weight
    assert isinstance(weight, Tensor)
    stacked = deconv.reshape(-1, *deconv.shape[-2:])
    height, width = (1, *weight.shape[2:])[-2:]
    return FirstConvolution(
        found.path, stacked.numpy().copy(), weight.shape[1] * len(stacked), (height, width)
    )
