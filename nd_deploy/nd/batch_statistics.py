"""ND layers that are to run on the statistics of each batch, as they do while they train."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from nd_deploy.errors import UnsupportedLayerError
from nd_deploy.nd.batch_formulas import BATCH_FORMULAS
from nd_deploy.nd.formulas import Formula
from nd_deploy.nd.recognise import PROBE_TOLERANCE, NDLayer, Recognition, probe
from nd_deploy.nd.twin import float32_copy, float64_outline, float64_twin
from nd_deploy.threads import single_threaded_numpy, single_threaded_torch

# All outputs share D, so a few of them tell the formula.
_PROBED_OUTPUTS = 8


def on_batch_statistics(network: nn.Module, recognition: Recognition) -> Recognition:
    """Prove that every recognised layer can whiten with the statistics of its batch.

    Each layer is run in float64 and in training mode on random inputs, and compared with the
    definition of what its kind computes then.

    Args:
        network: in any mode on any device; not changed.
        recognition: of `network`.

    Returns:
        The same layers, each with the formula that it computes in training mode; exported with
        these, a network takes its statistics from every batch that it is given. There are no
        warnings, since all of them are about statistics that are not read.

    Raises:
        UnsupportedLayerError: layers compute something else in training mode, or do not say with
            what settings.
    """
    modules = dict(network.named_modules())
    layers: list[NDLayer] = []
    refused: list[str] = []
    with single_threaded_torch(), single_threaded_numpy():
        for layer in recognition.layers:
            result = _proven(layer, modules[layer.path])
            if isinstance(result, NDLayer):
                layers.append(result)
            else:
                where = layer.path or "at the top"
                refused.append(f"layer {where} ({layer.class_name}): {result}")
    if refused:
        raise UnsupportedLayerError(
            "no statistics of the batch for " + "\n".join(refused),
            "convert the network with its running statistics; those of the batch are for layers "
            f"that train as the published {', '.join(BATCH_FORMULAS)} do",
        )
    return Recognition(tuple(layers), ())


def batch_statistics_twin(network: nn.Module, recognition: Recognition) -> nn.Module:
    """Copy a network so that its ND layers take their statistics from every batch.

    All else computes as in eval mode. The copy stays so when it is itself copied, put into eval
    mode or widened to float64, and `nd_deploy.parity.record.record_reference` takes it as it takes
    any network.

    Args:
        network: in any mode on any device; not changed.
        recognition: of `network`.

    Returns:
        The copy, on the CPU and in float32, sharing the network's parameters.

    Raises:
        InputError: the network holds something that cannot be copied.
    """
    twin = float32_copy(network)
    modules = dict(twin.named_modules())
    for layer in recognition.layers:
        _take_statistics_of_each_batch(modules[layer.path])
    return twin


def _proven(layer: NDLayer, module: nn.Module) -> NDLayer | str:
    """The layer with its formula on batch statistics, or why it has none."""
    formula = BATCH_FORMULAS.get(layer.formula.name)
    if formula is None:
        return f"{layer.formula.name} has no known form in training mode"
    problem = formula.mismatch(module)
    if problem is not None:
        return problem
    outline = float64_outline(module, _PROBED_OUTPUTS)
    result = "it has few outputs" if outline is None else _probe(outline, formula)
    if isinstance(result, str) or result > PROBE_TOLERANCE:
        # Either the layer is small, or its code does not bear having outputs taken away.
        result = _probe(float64_twin(module), formula)
    if isinstance(result, str):
        return f"in training mode {result}"
    if result > PROBE_TOLERANCE:
        return f"in training mode its output differs from {formula.name} by {result:.1e}"
    return replace(layer, formula=formula, probe_error=result)


def _probe(twin: nn.Module, formula: Formula) -> float | str:
    _take_statistics_of_each_batch(twin)
    return probe(twin, formula)


def _take_statistics_of_each_batch(layer: nn.Module) -> None:
    """Make a layer of a copy train, for the length of its forward, whatever its mode is."""
    for name, buffer in layer._buffers.items():
        if buffer is not None:
            # Training moves the running statistics, which the copy may share.
            layer._buffers[name] = buffer.clone()
    if getattr(layer, "freeze", None) is True:
        vars(layer)["freeze"] = False
    layer.register_forward_pre_hook(_train)
    layer.register_forward_hook(_evaluate, always_call=True)


def _train(layer: nn.Module, _arguments: Any) -> None:  # noqa: ANN401
    layer.train()


def _evaluate(layer: nn.Module, _arguments: Any, _output: Any) -> None:  # noqa: ANN401
    layer.eval()
