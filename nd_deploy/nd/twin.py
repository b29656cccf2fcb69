"""Copies of a network to work on, so that the user's own is never touched."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn


def float32_copy(module: nn.Module) -> nn.Module:
    """Copy a network to the CPU in float32 and eval mode, sharing memory wherever it is so already.

    Args:
        module: any network, in any mode and on any device; not changed.

    Returns:
        The copy. Its tensors must not be written to.
    """
    return _copy(module, lambda tensor: _to(tensor, torch.float32))


def float64_twin(module: nn.Module) -> nn.Module:
    """Copy a network to the CPU in float64 and eval mode, each tensor copied once.

    Args:
        module: any network, in any mode and on any device; not changed.

    Returns:
        The copy.
    """
    return _copy(module, lambda tensor: _to(tensor, torch.float64).clone())


@contextlib.contextmanager
def widened_in_turn(network: nn.Module) -> Iterator[None]:
    """Inside the block, each module computes in float64, which it is given only while it runs.

    A float64 twin of a whole network takes twice the memory of its weights; this takes twice that
    of its largest layer. A module that reads another's parameters finds them in float32.

    Args:
        network: a copy of the user's network.
    """
    narrow: dict[int, list[tuple[dict[str, Any], str, Tensor]]] = {}

    def widen(module: nn.Module, _arguments: object) -> None:
        owned: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        changes = [
            (tensors, name, tensor)
            for tensors in owned
            for name, tensor in tensors.items()
            if tensor is not None and tensor.dtype == torch.float32
        ]
        narrow.setdefault(id(module), []).extend(changes)
        for tensors, name, tensor in changes:
            tensors[name] = tensor.detach().double()

    def restore(module: nn.Module, _arguments: object, _output: object) -> None:
        for tensors, name, tensor in narrow.pop(id(module), []):
            tensors[name] = tensor

    handles = []
    for module in network.modules():
        handles.append(module.register_forward_pre_hook(widen))
        handles.append(module.register_forward_hook(restore, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module in network.modules():
            restore(module, None, None)


def _copy(module: nn.Module, convert: Callable[[Tensor], Tensor]) -> nn.Module:
    memo: dict[int, object] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        converted = convert(tensor.detach())
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = (
            nn.Parameter(converted, requires_grad=False) if is_parameter else converted
        )
    twin = copy.deepcopy(module, memo).eval()
    for layer in twin.modules():
        _count_a_batch(layer)
    return twin


def _to(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to("cpu", dtype if tensor.is_floating_point() else tensor.dtype)


def _count_a_batch(layer: nn.Module) -> None:
    """Tell a layer that counts its training batches that it has seen one.

    The authors' ChannelDeconv otherwise overwrites its running mean and then crashes when it is
    evaluated before any training step.
    """
    counter = layer._buffers.get("num_batches_tracked")
    if counter is not None and counter == 0:
        layer._buffers["num_batches_tracked"] = torch.ones_like(counter)
