"""The models that are served: one whose runtime costs next to nothing, and a ResNet-18."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

TOY, RESNET = "toy", "resnet18"
INPUT = (3, 32, 32)


def make(name: str, folder: Path) -> Path:
    """Convert a model with weights drawn at random.

    Args:
        name: TOY or RESNET.
        folder: where its bundle goes, under its name.

    Returns:
        The bundle.
    """
    import torch
    from bench_convert import settled

    import nd_deploy
    from nd_deploy import models

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    network = _toy() if name == TOY else models.build(RESNET)
    nd_deploy.convert(settled(network), torch.randn(2, *INPUT), folder / name)
    return folder / name


def _toy() -> object:
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=4, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)
    )
