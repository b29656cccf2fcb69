"""One Python plugin: the methods that TensorRT calls, without its base classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from nd_deploy.errors import InputError
from nd_deploy.plugins.twin_device import on_stream, tensor_at
from nd_deploy.plugins.twin_ops import CONVERT_AGAIN, Fields, PluginOp, Value

PLUGIN_VERSION = "1"


class TwinPlugin:
    """A plugin of one op; `nd_deploy.plugins.twin` derives it from TensorRT's interfaces.

    Args:
        fields: the node's attributes, by name.
    """

    trt: ClassVar[Any]
    op: ClassVar[PluginOp]
    namespace: ClassVar[str]
    interfaces: ClassVar[tuple[type, ...]]

    def __init__(self, fields: Fields) -> None:
        for interface in self.interfaces:
            interface.__init__(self)  # type: ignore[misc]
        self.plugin_name = self.op.name
        self.plugin_version = PLUGIN_VERSION
        self.plugin_namespace = self.namespace
        self.num_outputs = len(self.op.outputs)
        self.fields = dict(fields)

    def get_capability_interface(self, kind: Any) -> TwinPlugin:  # noqa: ANN401
        """This object is core, build and runtime capability in one."""
        return self

    def get_output_data_types(self, input_types: Sequence[Any]) -> list[Any]:
        """Every output has the type of x."""
        return [input_types[0]] * len(self.op.outputs)

    def get_output_shapes(
        self,
        inputs: Sequence[Any],
        shape_inputs: Sequence[Any],
        expr_builder: Any,  # noqa: ANN401 - an IExprBuilder
    ) -> list[Any]:
        """Every output has the shape of an input."""
        return [self.trt.DimsExprs(inputs[index]) for index in self.op.outputs]

    def supports_format_combination(self, pos: int, in_out: Sequence[Any], num_inputs: int) -> bool:
        """Whether tensor `pos` may be what it is: T for x and the outputs, else float32."""
        described = [getattr(item, "desc", item) for item in in_out[: pos + 1]]
        kind = described[pos].type
        if described[pos].format != self.trt.TensorFormat.LINEAR:
            return False
        if pos == 0:
            return kind in self._dtypes()
        if pos < num_inputs:
            return bool(kind == self.trt.DataType.FLOAT)
        return bool(kind == described[0].type)

    def configure_plugin(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Refuse shapes that do not fit, for an optimisation profile."""
        self._check([item.desc for item in inputs])

    def on_shape_change(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Refuse shapes that do not fit, at run time."""
        self._check(inputs)

    def get_workspace_size(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
        """None: PyTorch allocates what it needs."""
        return 0

    def get_valid_tactics(self) -> list[int]:
        """None but the default."""
        return []

    def set_tactic(self, tactic: int) -> None:
        """There is nothing to choose."""

    def get_fields_to_serialize(self) -> Any:  # noqa: ANN401 - a PluginFieldCollection
        """The fields that an engine keeps."""
        # A collection does not keep its fields, and TensorRT reads them after this returns.
        self._serialised = plugin_fields(self.trt, self.op, self.fields)
        self._collection = self.trt.PluginFieldCollection(self._serialised)
        return self._collection

    def attach_to_context(self, context: Any) -> TwinPlugin:  # noqa: ANN401
        """A copy for one execution context."""
        return self.clone()

    def clone(self) -> TwinPlugin:
        """A copy."""
        return type(self)(self.fields)

    def enqueue(
        self,
        input_desc: Sequence[Any],
        output_desc: Sequence[Any],
        inputs: Sequence[int],
        outputs: Sequence[int],
        workspace: int,
        stream: int,
    ) -> None:
        """Compute the outputs on `stream`.

        Raises:
            MissingDependencyError: PyTorch is absent or has no CUDA.
            BackendError: the stream is recorded into a CUDA graph.
        """
        with on_stream(stream):
            read = [self._wrap(*each) for each in zip(input_desc, inputs, strict=True)]
            written = [self._wrap(*each) for each in zip(output_desc, outputs, strict=True)]
            if not any(tensor.numel() for tensor in written):
                return
            for target, result in zip(written, self.op.compute(read, self.fields), strict=True):
                target.copy_(result)

    def _wrap(self, desc: Any, pointer: int) -> Any:  # noqa: ANN401
        return tensor_at(pointer, tuple(desc.dims), self._dtypes()[desc.type])

    def _check(self, inputs: Sequence[Any]) -> None:
        if len(inputs) != self.op.inputs:
            raise InputError(
                f"{self.op.name} has {len(inputs)} inputs, not {self.op.inputs}", CONVERT_AGAIN
            )
        self.op.check([tuple(item.dims) for item in inputs], self.fields)

    def _dtypes(self) -> dict[Any, str]:
        kinds = self.trt.DataType
        return {kinds.FLOAT: "float32", kinds.HALF: "float16", kinds.BF16: "bfloat16"}


def read_fields(op: PluginOp, collection: Iterable[Any]) -> dict[str, Value]:
    """The fields of `op` in a PluginFieldCollection.

    Raises:
        InputError: one is missing, or has another number of values than it should.
    """
    found = {field.name: np.atleast_1d(field.data) for field in collection if field.size}
    values: dict[str, Value] = {}
    for name, kind in op.fields.items():
        data = found.get(name)
        if data is None or (kind != "ints" and len(data) != 1):
            raise InputError(
                f"{op.name} has no attribute {name}, or one of another kind than {kind}",
                CONVERT_AGAIN,
            )
        if kind == "ints":
            values[name] = tuple(int(value) for value in data)
        else:
            values[name] = float(data[0]) if kind == "float" else int(data[0])
    return values


def plugin_fields(trt: Any, op: PluginOp, fields: Fields | None = None) -> list[Any]:  # noqa: ANN401
    """The fields of `op` as PluginFields; without values if none are given."""
    made = []
    for name, kind in op.fields.items():
        dtype = np.float32 if kind == "float" else np.int32
        field_type = trt.PluginFieldType.FLOAT32 if kind == "float" else trt.PluginFieldType.INT32
        data = np.atleast_1d(np.asarray([] if fields is None else fields[name], dtype))
        made.append(trt.PluginField(name, data, field_type))
    return made
