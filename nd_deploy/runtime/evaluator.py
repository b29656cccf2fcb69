"""The reference evaluator of onnx made exact, fast enough for whole networks, and leaner.

Exact: every float has one dtype from the start, float64 unless asked otherwise, whatever the model
declares. Fast: `reference_ops` has convolution and pooling. Leaner: a tensor is dropped after its
last use.

Importing this module imports onnx.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from nd_deploy.attributes import written_value
from nd_deploy.errors import BackendError
from nd_deploy.runtime.reference_ops import OPS, Results


def in_dtype(value: Any, dtype: Any) -> Any:  # noqa: ANN401
    """Convert an array of any float type.

    Args:
        value: an array of any shape and dtype, or what else an ONNX value may be.
        dtype: the float type wanted.

    Returns:
        The array in `dtype`, or `value` itself if it has it already or is not of floats.
    """
    if isinstance(value, np.ndarray) and "float" in value.dtype.name:
        return value.astype(dtype, copy=False)
    return value


class Evaluator(ReferenceEvaluator):
    """onnx's evaluator with these ops, in the graph, its functions and its subgraphs."""

    # Of the class, because onnx makes the evaluators of functions and subgraphs from it.
    dtype: Any = np.float64

    def __init__(self, proto: Any, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        # onnx hands the ops given to a graph down to its subgraphs, but not to functions.
        kwargs["new_ops"] = [*OPS, *(kwargs.get("new_ops") or ())]
        super().__init__(proto, *args, **kwargs)
        self.rt_inits_ = {k: in_dtype(v, self.dtype) for k, v in self.rt_inits_.items()}
        for node in self.rt_nodes_:
            _exact_attributes(node)
        self._uses = Counter(name for node in self.rt_nodes_ for name in node.input)
        # A subgraph reads what it needs from the scope around it, without naming it as an input.
        self._keep_all = any(node.need_context() for node in self.rt_nodes_)

    def run(
        self,
        output_names: Sequence[str] | None,
        feed_inputs: dict[str, Any],
        attributes: dict[str, Any] | None = None,
        intermediate: bool = False,
        check_shape_annotations: bool | None = None,
        _bindings: Any = None,  # noqa: ANN401
    ) -> dict[str, Any] | list[Any]:
        """Run the graph; see onnx's evaluator, whose signature this is.

        Args:
            output_names: tensors to return, of the graph itself; None for its outputs.
            feed_inputs: arrays of this dtype or integers by name, of all inputs; initializers may
                be among them.
            attributes: of the call, if this is a function.
            intermediate: whether to return every tensor by name.
            check_shape_annotations: has no effect.
            _bindings: has no effect.

        Returns:
            The outputs in order, or every tensor by name.
        """
        del check_shape_annotations, _bindings
        wanted = list(self.output_names if output_names is None else output_names)
        results: dict[str, Any] = {"": None, **self.rt_inits_, **feed_inputs}
        # One use more than the nodes have keeps a tensor to the end.
        left = self._uses + Counter([*wanted, ""])
        for node in self.rt_nodes_:
            options: dict[str, Any] = {"context": results} if node.need_context() else {}
            if node.has_linked_attribute and attributes:
                options["linked_attributes"] = attributes
            # A parameter of another float type is converted for each use, not kept twice.
            inputs = [in_dtype(results[name], self.dtype) for name in node.input]
            outputs = _run_node(node, inputs, options)
            for name, value in zip(node.output, outputs, strict=False):
                if name:
                    results[name] = in_dtype(value, self.dtype)
            del inputs, outputs
            if self._keep_all or intermediate:
                continue
            left.subtract(node.input)
            for name in {*node.input, *node.output}:
                if left[name] <= 0:
                    results.pop(name, None)
        return results if intermediate else [in_dtype(results[name], self.dtype) for name in wanted]


class SingleEvaluator(Evaluator):
    """The same in float32."""

    dtype = np.float32


def _exact_attributes(node: OpRun) -> None:
    """Undo the rounding to float32 of an epsilon, alpha or the like."""
    for name in node.attributes_names_:
        value = getattr(node, name)
        if isinstance(value, (float, np.float32)):
            setattr(node, name, written_value(float(value)))


def _run_node(node: OpRun, inputs: list[Any], options: dict[str, Any]) -> Results:
    try:
        outputs: Results = node.run(*inputs, **options)  # type: ignore[no-untyped-call]
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        shapes = ", ".join(str(getattr(value, "shape", None)) for value in inputs)
        raise BackendError(
            f"{node.op_type} '{node.onnx_node.name}' failed on inputs of shapes {shapes}: {error}",
            "check that the shapes given suit every layer of the model",
        ) from error
    return outputs
