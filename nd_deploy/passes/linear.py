"""One view of the linear nodes that D can fold into: Conv, Gemm and MatMul.

Whatever the node, its weight is seen as (outputs, inputs, taps...) and its bias as one
value an output.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from nd_deploy.attributes import written_value
from nd_deploy.fold.algebra import Array
from nd_deploy.passes.base import Refusal
from nd_deploy.passes.graph import (
    free_name,
    is_output,
    parameters,
    rank,
    reads_size_only,
    write_parameter,
)

LINEAR_OPS = ("Conv", "Gemm", "MatMul")


@dataclass
class Linear:
    """A linear node with constant parameters.

    Attributes:
        node: the node; for a MatMul with a bias, the MatMul.
        weight: (O, C, taps...). Of a grouped convolution C counts one group's inputs.
        bias: (O,), or None.
        groups: of a convolution; 1 otherwise.
        zero_padded: whether some taps read padding instead of the input.
        add: the Add that holds the bias of a MatMul.
    """

    node: gs.Node
    weight: Array
    bias: Array | None
    groups: int = 1
    zero_padded: bool = False
    add: gs.Node | None = None

    @property
    def output(self) -> gs.Tensor:
        """The tensor that carries the result, bias included."""
        return (self.add or self.node).outputs[0]

    @property
    def sole_reason(self) -> str:
        """Why what `read_producer` found it behind may be folded backward into it."""
        return f"{self.node.op} {self.node.name} produces its input and nothing else reads it"

    def write(self, graph: gs.Graph, weight: Array, bias: Array | None) -> None:
        """Put new parameters of the same shapes into the node; a bias of None leaves it alone."""
        if self.node.op == "MatMul":
            write_parameter(graph, self.node, 1, np.ascontiguousarray(weight.T))
            if bias is not None:
                self._write_matmul_bias(graph, bias)
            return
        if self.node.op == "Gemm":
            transposed = bool(self.node.attrs.get("transB", 0))
            weight = weight if transposed else np.ascontiguousarray(weight.T)
            self.node.attrs.pop("alpha", None)
            self.node.attrs.pop("beta", None)
            bias = self.bias if bias is None else bias
        write_parameter(graph, self.node, 1, weight)
        if bias is not None:
            write_parameter(graph, self.node, 2, bias)

    def _write_matmul_bias(self, graph: gs.Graph, bias: Array) -> None:
        if self.add is not None:
            index = 1 if isinstance(self.add.inputs[1], gs.Constant) else 0
            write_parameter(graph, self.add, index, bias)
        elif rank(self.node.inputs[0]) == 2:
            self.node.op = "Gemm"
            self.node.inputs.append(
                gs.Constant(free_name(graph.tensors(), f"{self.node.name}.bias"), bias)
            )
        else:
            self.add = add_bias(graph, self.node, bias)


def read_linear(graph: gs.Graph, node: gs.Node) -> Linear | Refusal:
    """See `node` as a linear layer of its first input, or say why it is none."""
    if node.op not in LINEAR_OPS or node.domain not in (None, ""):
        return Refusal(f"{node.op} is not a convolution or a linear layer")
    values = parameters(node)
    if isinstance(values, Refusal):
        return values
    weight, bias = values[0], values[1] if len(values) > 1 else None
    if node.op == "Conv":
        groups = int(node.attrs.get("group", 1))
        return Linear(node, weight, bias, groups, _pads_with_zeros(node))
    if node.op == "Gemm":
        return _read_gemm(node, weight, bias)
    return _read_matmul(graph, node, weight)


def read_producer(graph: gs.Graph, tensor: gs.Tensor) -> Linear | Refusal:
    """The linear layer whose outputs are axis 1 of `tensor` and that nothing else reads."""
    if not tensor.inputs:
        return Refusal(f"{tensor.name} is an input of the model")
    if is_output(graph, tensor):
        return Refusal(f"{tensor.name} is an output of the model too")
    readers = [node for node in tensor.outputs if not reads_size_only(node)]
    if len(readers) != 1:
        return Refusal(f"{tensor.name} is read by {len(readers)} nodes")
    last = tensor.inputs[0]
    node = _product_of(last) or last
    linear = read_linear(graph, node)
    if isinstance(linear, Refusal):
        return Refusal(f"{node.op} {node.name} produces {tensor.name} ({linear.reason})")
    if linear.output is not tensor:
        return Refusal(f"{last.op} {last.name} produces {tensor.name}")
    if node.op == "MatMul" and rank(tensor) != 2:
        return Refusal(f"MatMul {node.name} does not produce channels on axis 1")
    return linear


def _product_of(add: gs.Node) -> gs.Node | None:
    """The MatMul behind an Add that may hold its bias."""
    for tensor in add.inputs if add.op == "Add" else ():
        if tensor.inputs and tensor.inputs[0].op == "MatMul":
            return tensor.inputs[0]
    return None


def add_bias(graph: gs.Graph, node: gs.Node, bias: Array) -> gs.Node:
    """Put an Add with `bias` behind `node`; it takes over the node's output tensor."""
    (output,) = node.outputs
    taken = graph.tensors()
    product = gs.Variable(free_name(taken, f"{node.name}.product"), output.dtype, output.shape)
    constant = gs.Constant(free_name(taken, f"{node.name}.bias"), bias)
    node.outputs[0] = product
    add = gs.Node("Add", f"{node.name}.add", inputs=[product, constant], outputs=[output])
    graph.nodes.append(add)
    graph.toposort()
    return add


def _pads_with_zeros(node: gs.Node) -> bool:
    automatic = node.attrs.get("auto_pad", "NOTSET")
    return automatic in ("SAME_UPPER", "SAME_LOWER") or any(node.attrs.get("pads", ()))


def _read_gemm(node: gs.Node, weight: Array, bias: Array | None) -> Linear | Refusal:
    if node.attrs.get("transA", 0):
        return Refusal("the linear layer reads its input transposed")
    if not node.attrs.get("transB", 0):
        weight = weight.T
    alpha, beta = (written_value(node.attrs.get(name, 1.0)) for name in ("alpha", "beta"))
    if alpha != 1:
        weight = weight.astype(np.float64) * alpha
    if bias is not None:
        if bias.ndim > 1 and bias.shape[0] > 1:
            return Refusal("the linear layer's bias differs from sample to sample")
        bias = np.broadcast_to(bias, (1, weight.shape[0]))[0].astype(np.float64) * beta
    return Linear(node, weight, bias)


def _read_matmul(graph: gs.Graph, node: gs.Node, weight: Array) -> Linear | Refusal:
    if weight.ndim != 2:
        return Refusal(f"the matrix product's weight has {weight.ndim} axes, not 2")
    add = _bias_add(graph, node)
    if add is None:
        return Linear(node, weight.T, None)
    held = add.inputs[1] if isinstance(add.inputs[1], gs.Constant) else add.inputs[0]
    bias = np.broadcast_to(held.values, (weight.shape[1],))
    return Linear(node, weight.T, bias, add=add)


def _bias_add(graph: gs.Graph, node: gs.Node) -> gs.Node | None:
    (product,) = node.outputs
    if len(product.outputs) != 1 or is_output(graph, product) or product.outputs[0].op != "Add":
        return None
    add = product.outputs[0]
    for tensor in add.inputs:
        if isinstance(tensor, gs.Constant) and tensor.dtype in (np.float32, np.float64):
            fits = tensor.values.size in (1, node.inputs[1].shape[-1]) and tensor.values.ndim <= 1
            return add if fits else None
    return None
