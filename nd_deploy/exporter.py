"""From a PyTorch network to the ND dialect."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import torch
from torch import Tensor, nn

from nd_deploy.errors import ExportError
from nd_deploy.nd import dialect
from nd_deploy.nd.recognise import Recognition, recognise
from nd_deploy.nd.twin import float64_twin
from nd_deploy.passes.graph import free_name, lift_constants, store

# Old enough for TensorRT 10.3 on JetPack 6, new enough for everything the exporter emits.
OPSET = 18
IR_VERSION = 10


def export(
    module: nn.Module,
    example_input: Tensor | Sequence[Tensor],
    *,
    dynamic_batch: bool = True,
    dynamic_spatial: bool = False,
) -> onnx.ModelProto:
    """Export a network as a float32 model of standard ops and ND dialect nodes.

    The model runs as it is wherever model-local functions do, ONNX Runtime among them.

    Args:
        module: a trained network; not changed.
        example_input: (N, C, H, W) or (N, F), or one tensor for each input.
        dynamic_batch: leave axis 0 of every input and output open.
        dynamic_spatial: leave the axes from 2 on open too.

    Returns:
        The model, the same bytes for the same network.

    Raises:
        UnsupportedLayerError: an ND layer computes no known formula.
        ExportError: the network cannot be traced.
    """
    recognition = recognise(module)
    twin = float64_twin(module)
    graph = trace(twin, recognition, example_input, dynamic_batch, dynamic_spatial)
    return store(graph)


def trace(
    twin: nn.Module,
    recognition: Recognition,
    example_input: Tensor | Sequence[Tensor],
    dynamic_batch: bool = True,
    dynamic_spatial: bool = False,
) -> gs.Graph:
    """Trace a float64 twin into a graph in the passes' form, sharing memory with the twin.

    Args:
        twin: from `float64_twin`; its ND layers are replaced by adapters, so it is used up.
        recognition: of the network that the twin is a copy of.
        example_input: as of `export`, in any floating dtype.
        dynamic_batch: as of `export`.
        dynamic_spatial: as of `export`.

    Returns:
        The graph, with float64 parameters.

    Raises:
        ExportError: the network cannot be traced.
    """
    inputs = tuple(_example(x) for x in _as_tuple(example_input))
    network = _with_adapters(twin, recognition)
    _compensate_batch_norm_eps(network)
    program = _run_exporter(
        network, inputs, _dynamic_shapes(inputs, dynamic_batch, dynamic_spatial)
    )
    graph = _import(program)
    _name_inputs(graph)
    return graph


def _as_tuple(example_input: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    return (example_input,) if isinstance(example_input, Tensor) else tuple(example_input)


def _example(x: Tensor) -> Tensor:
    x = x.detach().cpu()
    if x.is_floating_point():
        x = x.double()
    # A batch of one would be traced as the constant 1.
    return torch.cat([x, x]) if x.dim() and x.shape[0] == 1 else x


def _dynamic_shapes(
    inputs: Sequence[Tensor], batch: bool, spatial: bool
) -> tuple[dict[int, Any], ...]:
    def axes(x: Tensor) -> dict[int, Any]:
        named: dict[int, Any] = {0: "batch"} if batch else {}
        if spatial:
            named |= dict(zip(range(2, x.dim()), ("height", "width", "depth"), strict=False))
        return named

    return tuple(axes(x) for x in inputs)


def _with_adapters(twin: nn.Module, recognition: Recognition) -> nn.Module:
    """Replace every recognised layer, under each of the names it is reachable by."""
    by_path = {layer.path: layer for layer in recognition.layers}
    adapters: dict[int, nn.Module] = {}
    for path, module in twin.named_modules():
        if path in by_path:
            adapter = by_path[path].formula.adapter(module)
            adapter.layer = path
            adapters[id(module)] = adapter
    if id(twin) in adapters:
        return adapters[id(twin)]
    for parent in list(twin.modules()):
        # named_children() would give a shared layer once only.
        for name, child in list(parent._modules.items()):
            if id(child) in adapters:
                setattr(parent, name, adapters[id(child)])
    return twin


def _compensate_batch_norm_eps(network: nn.Module) -> None:
    """Make BatchNormalization exact in float64 although ONNX keeps its epsilon in float32.

    What the attribute loses is put into the running variance, which it is only ever added to.
    """
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_var is not None:
            module.running_var += module.eps - float(np.float32(module.eps))


def _run_exporter(
    network: nn.Module, inputs: tuple[Tensor, ...], dynamic_shapes: tuple[dict[int, Any], ...]
) -> Any:  # noqa: ANN401 - an ONNXProgram, which torch does not export by name
    try:
        with _quiet(), torch.no_grad():
            return torch.onnx.export(
                network,
                inputs,
                dynamo=True,
                dynamic_shapes=dynamic_shapes,
                opset_version=OPSET,
                optimize=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        cause = error.__cause__ or error
        first_lines = "\n".join(str(cause).strip().splitlines()[:6])
        raise ExportError(
            f"torch.onnx cannot export the network: {type(cause).__name__}: {first_lines}",
            "if it names a batch or image size, fix that axis (--static-batch, or leave out "
            "--dynamic-spatial); otherwise remove data-dependent Python branches from forward()",
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the exporter's own warnings, which name its internals and not the user's code."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _import(program: Any) -> gs.Graph:  # noqa: ANN401 - an ONNXProgram
    """Read the exporter's result without serialising its weights.

    They are taken out before the model becomes a protobuf and put back as constants, as views of
    the twin's tensors; large networks would otherwise be copied twice more.
    """
    model = program.model
    parameters = {}
    for name, value in list(model.graph.initializers.items()):
        if value.const_value.size > 64:
            parameters[name] = value.const_value.numpy()
            del model.graph.initializers[name]
            model.graph.inputs.append(value)
    proto = program.model_proto
    proto.ir_version = IR_VERSION
    graph = gs.import_onnx(proto)
    for tensor in list(graph.inputs):
        if tensor.name in parameters:
            tensor.to_constant(parameters[tensor.name])
    graph.inputs = [t for t in graph.inputs if isinstance(t, gs.Variable)]
    graph.name = "network"
    lift_constants(graph)
    for node in graph.nodes:
        node.doc_string = None
    return graph


def _name_inputs(graph: gs.Graph) -> None:
    """Name dialect nodes after their layers, and inputs and outputs after their place."""
    taken: list[str] = []
    for node in graph.nodes:
        if node.domain == dialect.DOMAIN:
            node.name = free_name(taken, node.attrs.pop("layer") or "network")
            taken.append(node.name)
    for kind, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        for index, tensor in enumerate(tensors):
            tensor.name = kind if len(tensors) == 1 else f"{kind}_{index}"
