"""Run a network in PyTorch, in float32 and float64, and keep what it computes."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nd_deploy.errors import InputError
from nd_deploy.nd.recognise import Recognition
from nd_deploy.nd.threads import single_threaded
from nd_deploy.parity.measure import relative_error
from nd_deploy.parity.reference import LayerReference, Reference, sample


def record_reference(
    module: nn.Module,
    twin: nn.Module,
    recognition: Recognition,
    inputs: Mapping[str, Tensor],
) -> Reference:
    """Run the network and its float64 twin on the same inputs.

    Args:
        module: the trained network, in any mode; left as it is.
        twin: its float64 twin.
        recognition: of `module`.
        inputs: by name, in the order of the network's arguments.

    Returns:
        Outputs of both, and those of every ND layer, sampled.

    Raises:
        InputError: the network rejects the inputs, or its output is not finite.
    """
    paths = [layer.path for layer in recognition.layers]
    arguments = tuple(inputs.values())
    with _in_eval(module) as network:
        float32, narrow = _forward(network, arguments, paths)
    wide_arguments = tuple(x.cpu().double() if x.is_floating_point() else x for x in arguments)
    with single_threaded():
        truth, wide = _forward(twin, wide_arguments, paths)
    if not all(np.isfinite(y).all() for y in truth):
        raise InputError(
            "the network's output holds NaN or Inf, in float64 too",
            "its running statistics are damaged or have not settled; train it for longer",
        )
    layers = {
        path: LayerReference(wide[path], relative_error(narrow[path], wide[path]))
        for path in paths
        if path in wide and path in narrow
    }
    arrays = {name: x.detach().cpu().numpy() for name, x in inputs.items()}
    return Reference(arrays, [y.astype(np.float64) for y in truth], float32, layers)


def _forward(
    network: nn.Module, arguments: tuple[Tensor, ...], paths: Sequence[str]
) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    layers = dict(network.named_modules())
    seen: dict[str, np.ndarray] = {}

    def keep(path: str) -> Any:  # noqa: ANN401 - torch's hook type
        def hook(_module: nn.Module, _arguments: object, output: Tensor) -> None:
            # A shared layer is called more than once; its node in the graph is the first call.
            seen.setdefault(path, sample(output.detach().cpu().numpy()))

        return hook

    handles = [layers[path].register_forward_hook(keep(path)) for path in paths]
    try:
        with torch.no_grad():
            output = network(*arguments)
    except Exception as error:
        shapes = ", ".join(str(tuple(x.shape)) for x in arguments)
        raise InputError(
            f"the network rejects an input of shape {shapes} ({arguments[0].dtype}): "
            f"{type(error).__name__}: {error}",
            "give the shape it was trained on (--input CxHxW); a network must also run in float64, "
            "so it may not cast to float32 itself",
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return [y.detach().cpu().numpy() for y in _flat(output)], seen


def _flat(output: object) -> list[Tensor]:
    """The tensors of a network's output in the order in which the exporter lists them."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, Mapping):
        return [y for value in output.values() for y in _flat(value)]
    if isinstance(output, (tuple, list)):
        return [y for value in output for y in _flat(value)]
    raise InputError(
        f"the network returns {type(output).__name__}",
        "make forward() return a tensor, or a tuple, list or dict of tensors",
    )


@contextlib.contextmanager
def _in_eval(module: nn.Module) -> Iterator[nn.Module]:
    """The network in eval mode, put back afterwards.

    The authors' ChannelDeconv writes to its buffers when it has counted no training batch, so such
    a network is copied first.
    """
    counters = [
        layer._buffers["num_batches_tracked"]
        for layer in module.modules()
        if "running_mean1" in layer._buffers and "num_batches_tracked" in layer._buffers
    ]
    if any(counter is not None and counter == 0 for counter in counters):
        module = copy.deepcopy(module)
        for layer in module.modules():
            if "running_mean1" in layer._buffers and "num_batches_tracked" in layer._buffers:
                layer.num_batches_tracked.fill_(1)  # type: ignore[operator]
    modes = [(layer, layer.training) for layer in module.modules()]
    try:
        yield module.eval()
    finally:
        for layer, mode in modes:
            layer.training = mode
