"""Copies of a network to work on, so that the user's own is never touched."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nd_deploy.errors import InputError

# A network's own code may write to buffers in eval mode too: it counts, or averages over channels.
_MAY_BE_WRITTEN = 2**16


def float32_copy(module: nn.Module) -> nn.Module:
    """Copy a network to the CPU in float32 and eval mode, sharing memory wherever it is so already.

    Args:
        module: any network, in any mode and on any device; not changed.

    Returns:
        The copy. Its parameters and large buffers must not be written to.

    Raises:
        InputError: it holds something that cannot be copied.
    """

    def convert(tensor: Tensor) -> Tensor:
        converted = _to(tensor, torch.float32)
        small = tensor.numel() <= _MAY_BE_WRITTEN and not isinstance(tensor, nn.Parameter)
        return converted.clone() if small else converted

    return _copy(module, convert)


def float64_twin(module: nn.Module) -> nn.Module:
    """Copy a network to the CPU in float64 and eval mode, each tensor copied once.

    Args:
        module: any network, in any mode and on any device; not changed.

    Returns:
        The copy.

    Raises:
        InputError: it holds something that cannot be copied.
    """
    return _copy(module, lambda tensor: _to(tensor, torch.float64).clone())


def float64_outline(layer: nn.Module, outputs: int) -> nn.Module | None:
    """Copy a layer in float64 with the first few of its outputs only.

    Args:
        layer: not changed.
        outputs: how many to keep.

    Returns:
        The copy; None for a layer without a weight, with groups, or with few outputs anyway.
    """
    weight, bias = (layer._parameters.get(name) for name in ("weight", "bias"))
    if weight is None or weight.shape[0] <= outputs or getattr(layer, "groups", 1) != 1:
        return None
    cut = {id(tensor) for tensor in (weight, bias) if tensor is not None}

    def convert(tensor: Tensor) -> Tensor:
        return _to(tensor[:outputs] if id(tensor) in cut else tensor, torch.float64).clone()

    return _copy(layer, convert)


@contextlib.contextmanager
def widened_in_turn(network: nn.Module) -> Iterator[None]:
    """Inside the block, each module computes in float64, which it is given only while it runs.

    A float64 twin of a whole network takes twice the memory of its weights; this takes twice that
    of its largest layer. A module that reads another's parameters finds them in float32.

    Args:
        network: a copy of the user's network.

    Raises:
        RuntimeError: something is computed in float32 all the same.
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
            with torch.no_grad():
                tensors[name] = tensor.double()

    def restore(module: nn.Module, _arguments: object, _output: object) -> None:
        for tensors, name, tensor in narrow.pop(id(module), []):
            tensors[name] = tensor

    handles = []
    for module in network.modules():
        handles.append(module.register_forward_pre_hook(widen))
        handles.append(module.register_forward_hook(restore, always_call=True))
    try:
        with _NothingInFloat32():  # type: ignore[no-untyped-call]
            yield
    finally:
        for handle in handles:
            handle.remove()
        for module in network.modules():
            restore(module, None, None)


class _NothingInFloat32(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses to compute float32 from float32.

    PyTorch widens the result without a word where a float64 tensor is next.
    """

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        result = func(*args, **(kwargs or {}))
        if _has_float32(result) and _has_float32((args, kwargs)):
            raise RuntimeError(f"{func} computes in float32")
        return result


def _has_float32(values: object) -> bool:
    return any(isinstance(x, Tensor) and x.dtype == torch.float32 for x in tree_leaves(values))


def _copy(module: nn.Module, convert: Callable[[Tensor], Tensor]) -> nn.Module:
    memo: dict[int, object] = {}
    for tensor in _tensors(module):
        converted = convert(tensor)
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = (
            nn.Parameter(converted, requires_grad=False) if is_parameter else converted
        )
    try:
        twin: nn.Module = copy.deepcopy(module, memo).eval()
    except Exception as error:
        # Whatever the user's modules hold is copied by its own code.
        raise InputError(
            f"the network cannot be copied: {type(error).__name__}: {error}",
            "its modules may hold tensors, numbers and the like: keep files, locks and generators "
            "elsewhere, or define __deepcopy__",
        ) from error
    for layer in twin.modules():
        _count_a_batch(layer)
    return twin


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    """Parameters, buffers, and tensors that are plain attributes."""
    yield from module.parameters()
    yield from module.buffers()
    for layer in module.modules():
        yield from (value for value in vars(layer).values() if isinstance(value, Tensor))


def _to(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.detach().to("cpu", dtype if tensor.is_floating_point() else tensor.dtype)


def _count_a_batch(layer: nn.Module) -> None:
    """Tell a layer that counts its training batches that it has seen one.

    The authors' ChannelDeconv otherwise overwrites its running mean and then crashes when it is
    evaluated before any training step.
    """
    counter = layer._buffers.get("num_batches_tracked")
    if counter is not None and counter == 0:
        layer._buffers["num_batches_tracked"] = torch.ones_like(counter)
