"""Run a network in PyTorch, in float32 and float64, and keep what it computes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nd_deploy.errors import InputError
from nd_deploy.nd.recognise import Recognition
from nd_deploy.nd.twin import float32_copy, float64_twin, widened_in_turn
from nd_deploy.parity.measure import relative_error
from nd_deploy.parity.reference import LayerReference, Reference, sample
from nd_deploy.threads import single_threaded_torch

_Outputs = tuple[list[np.ndarray], dict[str, np.ndarray]]


def record_reference(
    module: nn.Module, recognition: Recognition, inputs: Mapping[str, Tensor]
) -> Reference:
    """Run a network in float32 and in float64 on the same inputs.

    Args:
        module: the trained network, in any mode; left as it is.
        recognition: of `module`.
        inputs: by name, in the order of the network's arguments.

    Returns:
        Outputs in both, and those of every ND layer, sampled.

    Raises:
        InputError: the network rejects the inputs, or its output is not finite.
    """
    paths = [layer.path for layer in recognition.layers]
    arguments = _arguments(inputs)
    network = float32_copy(module)
    try:
        with single_threaded_torch() if _has_groups(network) else contextlib.nullcontext():
            float32, narrow = _forward(network, arguments, paths)
            truth, wide = _float64_forward(module, network, arguments, paths)
    except Exception as error:
        # The user's own code runs here, and may raise anything.
        raise _rejection(error, arguments) from error
    if not all(np.isfinite(y).all() for y in truth):
        broken = [path for path in paths if not np.isfinite(wide.get(path, 0.0)).all()]
        named = f"; layer {broken[0]} is the first ND layer whose output does" if broken else ""
        raise InputError(
            f"the network's output holds NaN or Inf, in float64 too{named}",
            "its running statistics are damaged or have not settled; train it for longer",
        )
    if not all(np.isfinite(y).all() for y in float32):
        raise InputError(
            "PyTorch's own float32 output holds NaN or Inf, though its float64 output is finite",
            "numbers inside the network leave float32's range; its running statistics have not "
            "settled, or the example input is far from what it was trained on",
        )
    layers = {
        path: LayerReference(wide[path], relative_error(narrow[path], wide[path]))
        for path in paths
        if path in wide and path in narrow
    }
    arrays = {name: x.numpy() for name, x in zip(inputs, arguments, strict=True)}
    return Reference(arrays, [y.astype(np.float64) for y in truth], float32, layers)


def float64_outputs(module: nn.Module, inputs: Mapping[str, Tensor]) -> list[np.ndarray]:
    """Run a network in float64 alone.

    Args:
        module: as of `record_reference`, like `inputs`.
        inputs: by name.

    Returns:
        Its outputs, in order.

    Raises:
        InputError: the network rejects the inputs.
    """
    arguments = _arguments(inputs)
    network = float32_copy(module)
    try:
        with single_threaded_torch() if _has_groups(network) else contextlib.nullcontext():
            return _float64_forward(module, network, arguments, ())[0]
    except Exception as error:
        # The user's own code runs here, and may raise anything.
        raise _rejection(error, arguments) from error


def _float64_forward(
    module: nn.Module, network: nn.Module, arguments: tuple[Tensor, ...], paths: Sequence[str]
) -> _Outputs:
    wide = tuple(x.double() if x.is_floating_point() else x for x in arguments)
    try:
        with widened_in_turn(network):
            return _forward(network, wide, paths)
    except RuntimeError:
        # Some module reads another's parameters, so all have to be float64 at once.
        return _forward(float64_twin(module), wide, paths)


def _has_groups(network: nn.Module) -> bool:
    return any(getattr(module, "groups", 1) != 1 for module in network.modules())


def _arguments(inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    remedy = "give a float32 torch.Tensor of shape (N, C, H, W) or (N, F) for each input"
    if not inputs:
        raise InputError("there is no example input", remedy)
    for name, x in inputs.items():
        if not isinstance(x, Tensor):
            raise InputError(f"the example {name} is a {type(x).__name__}, not a tensor", remedy)
        if not x.numel():
            raise InputError(f"the example {name} of shape {tuple(x.shape)} is empty", remedy)
    return tuple(x.detach().cpu() for x in inputs.values())


def _forward(network: nn.Module, arguments: tuple[Tensor, ...], paths: Sequence[str]) -> _Outputs:
    layers = dict(network.named_modules())
    seen: dict[str, np.ndarray] = {}

    def keep(path: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _arguments: object, output: Tensor) -> None:
            # A shared layer is called more than once; its node in the graph is the first call.
            seen.setdefault(path, sample(output.detach().numpy()))

        return hook

    handles = [layers[path].register_forward_hook(keep(path)) for path in paths]
    try:
        with torch.no_grad():
            # Copies, since a network may write to its input.
            output = network(*(x.clone() for x in arguments))
    finally:
        for handle in handles:
            handle.remove()
    outputs = [y.detach().numpy() for y in _flat(output)]
    if not outputs:
        raise _no_tensor(output)
    return outputs, seen


def _flat(output: object) -> list[Tensor]:
    """The tensors of a network's output in the order in which the exporter lists them."""
    if isinstance(output, Tensor):
        return [output]
    if output is None:
        return []  # which the exporter leaves out too
    if isinstance(output, Mapping):
        return [y for value in output.values() for y in _flat(value)]
    if isinstance(output, (tuple, list)):
        return [y for value in output for y in _flat(value)]
    raise _no_tensor(output)


def _no_tensor(output: object) -> InputError:
    return InputError(
        f"the network returns {type(output).__name__}",
        "make forward() return a tensor, or a tuple, list or dict of tensors",
    )


def _rejection(error: Exception, arguments: tuple[Tensor, ...]) -> InputError:
    if isinstance(error, InputError):
        return error
    shapes: list[Any] = [tuple(x.shape) for x in arguments]
    return InputError(
        f"the network rejects an input of shape {', '.join(map(str, shapes))} "
        f"({arguments[0].dtype}): {type(error).__name__}: {error}",
        "give the shape it was trained on (--input CxHxW); a network must also run in float64, "
        "so it may not cast to float32 itself",
    )
