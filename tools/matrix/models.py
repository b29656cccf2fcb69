"""The models of a network: the folded one, its batch-normalised twin, and exports of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from bench_convert import settled

import nd_deploy
from matrix.outcome import FOLDED, NAIVE, TWIN, TWIN_BUNDLE
from nd_deploy import models
from nd_deploy.errors import ExportError
from nd_deploy.naive_export import export_naively
from nd_deploy.origin import record

_SAMPLES = 2


def make(network: str, folder: Path, *, in_pytorch: bool) -> list[str]:
    """Write all of them, with weights drawn at random and statistics as training leaves them.

    Args:
        network: a name of `nd_deploy.models`.
        folder: where the files go, called as `matrix.outcome` says.
        in_pytorch: whether PyTorch is to run the twin, which takes a bundle of it.

    Returns:
        What could not be made, and why.
    """
    torch.manual_seed(0)
    options = models.describe(network).options
    twin = {"norm": "bn", **({"head": "linear"} if "head" in options else {})}
    x = torch.randn(_SAMPLES, *models.describe(network).input_shape)
    deconvolved, normalised = (settled(models.build(network, **o)) for o in ({}, twin))
    _convert(network, {}, deconvolved, x, folder / FOLDED)
    if in_pytorch:
        _convert(network, twin, normalised, x, folder / TWIN_BUNDLE)
    inputs = {"input": x.numpy()}
    export_naively(normalised, inputs, folder / TWIN)
    try:
        export_naively(deconvolved, inputs, folder / NAIVE)
    except ExportError as error:
        return [f"no export of the network as it is: {error.problem}"]
    return []


def _convert(
    network: str, options: dict[str, Any], module: torch.nn.Module, x: torch.Tensor, output: Path
) -> None:
    """Convert from a checkpoint, so that PyTorch can build the network again in any process."""
    file = output.with_suffix(".pth")
    torch.save({"state_dict": module.state_dict()}, file)
    digest = nd_deploy.read_checkpoint(file).sha256
    nd_deploy.convert(
        module,
        x,
        output,
        network=network,
        checkpoint={"name": file.name, "sha256": digest},
        # The checkpoint does not tell an eps.
        origin=record(network, {**models.describe(network).options, **options}, file),
    )
