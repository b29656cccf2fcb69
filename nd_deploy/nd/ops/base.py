"""What an ND op is, and the names that several of them share."""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import parser

DOMAIN = "nd_deploy"
VERSION = 1

X = ("x", "(N, C, ...): what the layer reads")
WHITENING = (("mean", "running mean, (F,)"), ("deconv", "running D, (F, F)"))
Y = ("y", "what the layer computes")

# Attributes that are no lists of ints.
_KINDS = {"group": "INT", "block": "INT", "n_iter": "INT", "sampling_stride": "INT", "eps": "FLOAT"}


@dataclass(frozen=True)
class Op:
    """One dialect op.

    Attributes:
        name: the op type.
        doc: what it computes.
        inputs: (name, meaning with shape), in order. The first has the network's float type, the
            others are float32, or float64 in a float64 model, whatever the first is.
        attributes: names, all of them required.
        body: the function's nodes as ONNX text, over its inputs and outputs.
        outputs: (name, meaning), in order; of the type of the first input.
        plugin: whether the TensorRT plugin library has it.
    """

    name: str
    doc: str
    inputs: tuple[tuple[str, str], ...]
    attributes: tuple[str, ...]
    body: str
    outputs: tuple[tuple[str, str], ...] = (Y,)
    plugin: bool = False

    def function(self, opset: int) -> onnx.FunctionProto:
        """The body as a model-local function against standard ops of `opset`.

        The opset has to be the model's own: inliners skip a function that differs.
        """
        attributes = f"<{', '.join(self.attributes)}>" if self.attributes else ""
        inputs, outputs = (
            ", ".join(name for name, _ in ports) for ports in (self.inputs, self.outputs)
        )
        function = parser.parse_function(
            f'<domain: "{DOMAIN}", opset_import: ["": {opset}]>\n'
            f"{self.name} {attributes} ({inputs}) => ({outputs})\n{{{self.body}}}"
        )
        for node in function.node:
            # ONNX Runtime says of each node where it ran, and needs a name for that.
            node.name = node.output[0]
        # TensorRT's parser takes an argument for an earlier parameter that has its name.
        parameters = {name: f"{self.name}.{name}" for name in function.input}
        function.input[:] = parameters.values()
        for node in function.node:
            node.input[:] = [parameters.get(name, name) for name in node.input]
        return function

    def kind(self, attribute: str) -> str:
        """What the values of an attribute are, in the words of onnx.AttributeProto."""
        return _KINDS.get(attribute, "INTS")
