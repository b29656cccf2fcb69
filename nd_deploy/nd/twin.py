"""A float64 copy of a network: the truth that everything else is compared with."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


def float64_twin(module: nn.Module) -> nn.Module:
    """Copy a network to the CPU in float64 and eval mode, leaving the original as it is.

    Floating-point tensors are copied once, straight to float64. A layer that counts its training
    batches is told it has seen one: the authors' ChannelDeconv otherwise overwrites its running
    mean and then crashes when it is evaluated before any training step.

    Args:
        module: any network.

    Returns:
        The copy.
    """
    memo: dict[int, object] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        memo[id(tensor)] = _widened(tensor)
    twin = copy.deepcopy(module, memo).eval()
    for layer in twin.modules():
        counter = layer._buffers.get("num_batches_tracked")
        if counter is not None and counter == 0:
            counter.fill_(1)
    return twin


def _widened(tensor: Tensor) -> Tensor:
    dtype = torch.float64 if tensor.is_floating_point() else tensor.dtype
    wide = tensor.detach().to("cpu", dtype, copy=True)
    return nn.Parameter(wide, requires_grad=False) if isinstance(tensor, nn.Parameter) else wide
