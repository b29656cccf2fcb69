"""PyTorch's ONNX exporter, kept quiet and kept exact.

Unless it is asked for, its own optimiser is left out: that folds batch normalisation and other
arithmetic on parameters in the parameters' dtype, and merges tensors that happen to be equal. What
replaces it here only works out shapes and moves constants about.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Collection, Iterator
from typing import Any, TypeAlias

import onnx
import torch
from torch import Tensor, nn

Node: TypeAlias = Any  # an onnx_ir.Node

_TALKATIVE = ("torch.onnx", "torch.fx.experimental.symbolic_shapes")
# Ops that copy values and compute none, so that folding them is exact in any dtype.
_MOVES = {
    "Cast",
    "CastLike",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Expand",
    "Gather",
    "Identity",
    "Reshape",
    "Shape",
    "Slice",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
}


class IRModel:
    """A model as the exporter holds it.

    Attributes:
        program: torch's ONNXProgram.
    """

    def __init__(self, program: Any) -> None:  # noqa: ANN401 - a torch.onnx.ONNXProgram
        self.program = program

    @property
    def graph(self) -> Any:  # noqa: ANN401 - an onnx_ir.Graph
        """The onnx_ir graph."""
        return self.program.model.graph

    def as_proto(self, ir_version: int) -> onnx.ModelProto:
        """The model as a protobuf, its contents copied."""
        self.program.model.ir_version = ir_version
        proto: onnx.ModelProto = self.program.model_proto
        return proto


def run_exporter(
    network: nn.Module,
    inputs: tuple[Tensor, ...],
    dynamic_shapes: tuple[object, ...],
    opset: int | None,
    optimise: bool = False,
) -> IRModel:
    """Trace a network.

    Args:
        network: in the mode that it is to be exported in.
        inputs: what to trace with.
        dynamic_shapes: as torch.onnx.export takes them.
        opset: the version of the standard ops; None for the exporter's own choice.
        optimise: whether the exporter's own optimiser may rewrite the graph.

    Raises:
        torch.onnx.OnnxExporterError: it cannot be traced.
    """
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            network,
            inputs,
            dynamo=True,
            dynamic_shapes=dynamic_shapes,
            opset_version=opset,
            optimize=optimise,
            verbose=False,
        )
    return IRModel(program)


def causes_of(error: BaseException) -> list[BaseException]:
    """An exception and what it was raised from, which the exporter does again and again."""
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    return causes


def in_few_lines(error: BaseException) -> str:
    """An exception's kind and the beginning of what it says."""
    lines = str(error).strip().splitlines()
    return "\n".join([f"{type(error).__name__}: {lines[0] if lines else ''}", *lines[1:6]])


def tidy(model: IRModel, parameters: Collection[str]) -> None:
    """Work out shapes and constants, without touching a parameter or computing with floats.

    Args:
        model: changed in place.
        parameters: names of initializers whose contents may not be read.
    """
    import onnx_ir
    from onnx_ir.passes.common import RemoveUnusedNodesPass
    from onnxscript import optimizer, rewriter
    from onnxscript.rewriter.rules import common as rules

    def should_fold(node: Node) -> bool | None:
        reads_parameter = any(x is not None and x.name in parameters for x in node.inputs)
        if reads_parameter and node.op_type != "Shape":
            return False
        floats = any(y.dtype is not None and y.dtype.is_floating_point() for y in node.outputs)
        return False if floats and node.op_type not in _MOVES else None

    graph_model: onnx_ir.Model = model.program.model
    optimizer.fold_constants(graph_model, should_fold=should_fold)
    rewriter.rewrite(
        graph_model,
        pattern_rewrite_rules=[
            # A reshape to a size worked out from the batch becomes one to a constant size.
            rules.materialize_reshape_shape_rule,
            rules.no_op_expand_rule,
            rules.squeeze_reshape_1d_rule,
            rules.reshape_reshape_rule,
            rules.unsqueeze_unsqueeze_rule,
        ],
    )
    optimizer.fold_constants(graph_model, should_fold=should_fold)
    RemoveUnusedNodesPass()(graph_model)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what the exporter says of its internals: warnings, and graphs that it gives up."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
