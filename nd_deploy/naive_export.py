"""What torch.onnx.export makes of a network as it is: the model that a folded one replaces."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from numpy.typing import NDArray
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch import nn

from nd_deploy.bundle import onnx_file
from nd_deploy.bundle.writing import EXTERNAL_DATA_OVER
from nd_deploy.errors import ExportError
from nd_deploy.exporter import IR_VERSION
from nd_deploy.nd.twin import float32_copy
from nd_deploy.open_axes import as_bound, examples, open_axes, require_open
from nd_deploy.torch_export import causes_of, in_few_lines, run_exporter

Node: TypeAlias = Any  # an onnx_ir.Node

_SCOPES = "pkg.torch.onnx.name_scopes"


def export_naively(
    module: nn.Module, inputs: Mapping[str, NDArray[Any]], path: Path, dynamic_batch: bool = True
) -> None:
    """Write what `torch.onnx.export(..., dynamo=True)` makes of a network in eval mode.

    The exporter's own optimiser is at work, as it is by default. Every node is called after the
    module that it comes from, "layer1.0.conv1/Conv_3", and "/Add_5" in the network's own forward;
    what else the exporter notes, such as files of this machine, is left out.

    Args:
        module: the trained network, in any mode; not changed.
        inputs: by the names that the model gives them, in order of the network's arguments; each
            of shape (N, ...).
        path: the file to write; large weights get one beside it, called the same with ".data".
        dynamic_batch: leave axis 0 open.

    Raises:
        ExportError: the exporter refuses the network, or leaves the batch closed.
    """
    tensors = [torch.from_numpy(x) for x in inputs.values()]
    traced = examples(tensors, dynamic_batch)
    axes = open_axes(traced, dynamic_batch, spatial=False)
    network = float32_copy(module)
    _count_in_numbers(network)
    try:
        model = run_exporter(network, traced, as_bound(network, axes), opset=None, optimise=True)
    except torch.onnx.OnnxExporterError as error:
        raise ExportError(
            f"torch.onnx.export refuses the network as it is: {in_few_lines(causes_of(error)[-1])}",
            "leave the naive export out of the comparison, or give one that you have made: "
            "--against MODEL.onnx",
        ) from error
    require_open(model.program.exported_program, axes)
    for value, name in zip(model.graph.inputs, inputs, strict=True):
        value.name = name
    modules = {path for path, _ in network.named_modules()}
    for index, node in enumerate(_nodes(model.program.model)):
        node.name = f"{_module_of(node, modules)}/{node.op_type}_{index}"
    ClearMetadataAndDocStringPass()(model.program.model)
    onnx_file.save(model.as_proto(IR_VERSION), path, EXTERNAL_DATA_OVER)


def _count_in_numbers(network: nn.Module) -> None:
    """Keep the counts of training batches as numbers, which is what a user has to do by hand.

    The authors' ChannelDeconv branches on its count, and the exporter takes no branch on a tensor.
    """
    for layer in network.modules():
        counted = layer._buffers.pop("num_batches_tracked", None)
        if counted is not None:
            vars(layer)["num_batches_tracked"] = int(counted)


def _nodes(model: Any) -> Iterator[Node]:  # noqa: ANN401 - an onnx_ir.Model
    """Every node, those of subgraphs and functions included."""
    yield from model.graph.all_nodes()
    for function in model.functions.values():
        yield from function.all_nodes()


def _module_of(node: Node, modules: Collection[str]) -> str:
    """The path of the innermost module whose forward a node comes from; "" for the network."""
    scopes = ast.literal_eval(node.metadata_props.get(_SCOPES, "[]"))
    return next((scope for scope in reversed(scopes[:-1]) if scope in modules), "")
