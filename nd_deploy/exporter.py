"""From a PyTorch network to the ND dialect.

The network is traced in float64 with tensors that have shapes and no contents, and the trained
parameters are attached afterwards as they are. So constants that stand in the network's code are
exact, and no copy of the weights is made.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import onnx
import onnx_graphsurgeon as gs
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from nd_deploy.errors import ExportError, UnsupportedLayerError
from nd_deploy.nd import dialect
from nd_deploy.nd.recognise import Recognition, recognise
from nd_deploy.nd.twin import float32_copy, float64_twin
from nd_deploy.open_axes import as_bound, examples, open_axes, require_open
from nd_deploy.passes.graph import free_name
from nd_deploy.passes.model import lift_constants, store
from nd_deploy.port_names import Path, input_names, output_names, output_paths
from nd_deploy.torch_export import IRModel, causes_of, in_few_lines, run_exporter, tidy

# Old enough for TensorRT 10.3 on JetPack 6, new enough for everything the exporter emits.
OPSET = 18
IR_VERSION = 10

Parameters: TypeAlias = Mapping[str, Tensor]


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
        ExportError: the network cannot be traced, or not for every size that is to stay open.
    """
    return store(trace(module, recognise(module), example_input, dynamic_batch, dynamic_spatial))


def trace(
    module: nn.Module,
    recognition: Recognition,
    example_input: Tensor | Sequence[Tensor],
    dynamic_batch: bool = True,
    dynamic_spatial: bool = False,
) -> gs.Graph:
    """Trace a network into a graph in the passes' form, which shares the network's memory.

    Args:
        module: as of `export`.
        recognition: of `module`.
        example_input: as of `export`.
        dynamic_batch: as of `export`.
        dynamic_spatial: as of `export`.

    Returns:
        The graph.

    Raises:
        UnsupportedLayerError: a layer holds NaN or Inf that it reads.
        ExportError: the network cannot be traced, or not for every size that is to stay open.
    """
    inputs = examples(example_input, dynamic_batch)
    axes = open_axes(inputs, dynamic_batch, dynamic_spatial)
    network = _with_adapters(float32_copy(module), recognition)
    parameters = {
        **dict(network.named_parameters(remove_duplicate=False)),
        **dict(network.named_buffers(remove_duplicate=False)),
    }
    model = _trace(network, inputs, as_bound(network, axes))
    program = model.program.exported_program
    require_open(program, axes)
    _tidy(model, parameters)
    graph = _import(model, parameters)
    _separate_outputs(graph)
    _name_nodes(graph)
    _name_ports(graph, output_paths(program))
    return graph


def _with_adapters(network: nn.Module, recognition: Recognition) -> nn.Module:
    """Replace every recognised layer, under each of the names it is reachable by."""
    by_path = {layer.path: layer for layer in recognition.layers}
    adapters: dict[int, nn.Module] = {}
    for path, module in network.named_modules():
        if path in by_path:
            adapter = by_path[path].formula.adapter(module)
            adapter.name_after(path)
            adapters[id(module)] = adapter
    if id(network) in adapters:
        return adapters[id(network)]
    for parent in list(network.modules()):
        # named_children() would give a shared layer once only.
        for name, child in list(parent._modules.items()):
            if id(child) in adapters:
                setattr(parent, name, adapters[id(child)])
    return network


def _trace(
    network: nn.Module, inputs: tuple[Tensor, ...], dynamic_shapes: tuple[object, ...]
) -> IRModel:
    try:
        return run_exporter(*_without_contents(network, inputs), dynamic_shapes, OPSET)
    except torch.onnx.OnnxExporterError:
        # Tensors that are neither parameters nor buffers have contents, and do not mix.
        twin = float64_twin(network)
        wide = tuple(x.double() if x.is_floating_point() else x for x in inputs)
    try:
        return run_exporter(twin, wide, dynamic_shapes, OPSET)
    except torch.onnx.OnnxExporterError as error:
        raise _explained(error) from error


def _without_contents(
    network: nn.Module, inputs: tuple[Tensor, ...]
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network and its inputs in float64 with tensors that take no memory."""
    mode = FakeTensorMode()

    def empty(tensor: Tensor) -> Tensor:
        dtype = torch.float64 if tensor.is_floating_point() else tensor.dtype
        with mode:
            hollow = torch.empty(tensor.shape, dtype=dtype)
        if isinstance(tensor, nn.Parameter):
            return nn.Parameter(hollow, requires_grad=False)
        return hollow

    tensors = (*network.parameters(), *network.buffers())
    memo: dict[int, Any] = {id(tensor): empty(tensor) for tensor in tensors}
    return copy.deepcopy(network, memo), tuple(empty(x) for x in inputs)


def _explained(error: Exception) -> Exception:
    causes = causes_of(error)
    for cause in causes:
        if isinstance(cause, UnsupportedLayerError):
            return cause
    return ExportError(
        f"torch.onnx cannot export the network: {in_few_lines(causes[-1])}",
        "if it names a batch or image size, fix that axis (--static-batch, or leave out "
        "--dynamic-spatial); otherwise remove data-dependent Python branches from forward()",
    )


def _tidy(model: IRModel, parameters: Parameters) -> None:
    try:
        tidy(model, parameters)
    except RuntimeError as error:  # onnxscript's own, where an op is not what it expects
        raise ExportError(
            f"torch.onnx gives a model that cannot be simplified: {error}",
            "a network that splits an axis into parts needs a fixed size of it: use "
            "--static-batch, or leave out --dynamic-spatial",
        ) from error


def _import(model: IRModel, parameters: Parameters) -> gs.Graph:
    """Read the traced model, and attach the parameters as views of the network's memory."""
    for name, value in list(model.graph.initializers.items()):
        if name in parameters:
            del model.graph.initializers[name]
            model.graph.inputs.append(value)
    graph = gs.import_onnx(model.as_proto(IR_VERSION))
    for tensor in list(graph.inputs):
        if tensor.name in parameters:
            tensor.to_constant(parameters[tensor.name].detach().numpy())
    graph.inputs = [tensor for tensor in graph.inputs if isinstance(tensor, gs.Variable)]
    graph.name = "network"
    lift_constants(graph)
    return graph


def _separate_outputs(graph: gs.Graph) -> None:
    """Make a tensor of its own of every output that is also an input or an earlier output."""
    taken = {id(tensor) for tensor in graph.inputs}
    for index, tensor in enumerate(graph.outputs):
        if id(tensor) in taken:
            name = free_name(graph.tensors(), f"{tensor.name}_again")
            twin = gs.Variable(name, tensor.dtype, tensor.shape)
            graph.nodes.append(gs.Node("Identity", name, inputs=[tensor], outputs=[twin]))
            graph.outputs[index] = twin
        taken.add(id(graph.outputs[index]))


def _name_nodes(graph: gs.Graph) -> None:
    """Name nodes after the layers whose parameters they read.

    Reports name nodes, and users know their layers.
    """
    taken = [node.name for node in graph.nodes]
    computed: dict[int, str] = {}
    for node in graph.nodes:
        layer = node.attrs.pop("layer", None) if node.domain == dialect.DOMAIN else _owner(node)
        if layer is None:
            layer = next((computed[id(x)] for x in node.inputs if id(x) in computed), None)
        elif node.domain == dialect.DOMAIN and len(node.outputs) > 1:
            # The layer's own node is the one that reads the bias computed here.
            computed[id(node.outputs[-1])] = layer
            layer = f"{layer}.statistics" if layer else "statistics"
        if layer is not None:
            node.name = free_name(taken, layer or "network")
            taken.append(node.name)


def _name_ports(graph: gs.Graph, paths: Sequence[Path]) -> None:
    """Name inputs and outputs; a tensor inside the graph that has one of those names makes room."""
    inputs = input_names(len(graph.inputs))
    names = [*inputs, *output_names(paths, inputs)]
    ports = [*graph.inputs, *graph.outputs]
    own = {id(port) for port in ports}
    inside = {id(tensor): tensor for tensor in _tensors(graph) if id(tensor) not in own}
    taken = {*names, *(tensor.name for tensor in inside.values())}
    for tensor in inside.values():
        if tensor.name in names:
            tensor.name = free_name(taken, tensor.name)
            taken.add(tensor.name)
    for port, name in zip(ports, names, strict=True):
        port.name = name


def _tensors(graph: gs.Graph) -> Iterator[gs.Tensor]:
    """Every tensor that nodes of the graph and its subgraphs read or write."""
    for part in (graph, *graph.subgraphs(recursive=True)):
        for node in part.nodes:
            yield from (*node.inputs, *node.outputs)


def _owner(node: gs.Node) -> str | None:
    """The layer that a standard node is: the path that its first parameter is named under."""
    for tensor in node.inputs:
        path, dot, _ = tensor.name.rpartition(".")
        if isinstance(tensor, gs.Constant) and dot:
            return str(path)
    return None
