"""Train networks on crops of photographs for so short a time that it takes seconds."""

from __future__ import annotations

import torch
from photographs import classes, crops
from torch import nn
from torch.nn import functional as F  # noqa: N812

_RATE = 0.01
_MOMENTUM = 0.5


def train(
    network: nn.Module,
    shape: tuple[int, int, int],
    batch: int,
    steps: int,
    generator: torch.Generator,
) -> None:
    """Train for some steps, the statistics following the weights.

    Both are cheaper apart, which makes this take seconds where training as usual takes minutes:
    the statistics move in a forward pass without gradients, nearly all the way at once, and the
    weights in one that holds them fixed, so that nothing is differentiated through the
    Newton-Schulz iteration.
    """
    optimiser = torch.optim.SGD(network.parameters(), lr=_RATE, momentum=0.9)
    follow(network, shape, batch, generator, 1.0)
    for _ in range(steps):
        network.eval()
        x, labels = crops(batch, shape, generator)
        output = network(x)
        if isinstance(output, dict):
            # A map of brightness in as many classes as there are photographs.
            output = output["out"]
            labels = ((x.mean(1) + 2) * 2).long().clamp(0, classes() - 1)
        optimiser.zero_grad()
        F.cross_entropy(output, labels).backward()
        # Through a hundred whitened layers of random weights the first gradients are huge.
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        follow(network, shape, batch, generator, _MOMENTUM)
    optimiser.zero_grad()
    network.eval()


def follow(
    network: nn.Module,
    shape: tuple[int, int, int],
    batch: int,
    generator: torch.Generator,
    momentum: float,
) -> None:
    """Move the running statistics towards those of a batch."""
    for module in network.modules():
        if getattr(module, "momentum", None) is not None:
            module.momentum = momentum
    network.train()
    with torch.no_grad():
        network(crops(batch, shape, generator)[0])
