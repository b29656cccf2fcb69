"""Runs a model of standard ops with numpy in float64: the truth that runtimes are held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nd_deploy.errors import GraphError, InputError
from nd_deploy.runtime.base import Receipt
from nd_deploy.runtime.feeds import Port, check_feeds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike
    from onnx import ModelProto

# Older ops mean other things in places, and onnx's evaluator knows only the newer meaning.
_OLDEST_OPSET = 13


class ReferenceRunner:
    """A model run in one float type, whatever float types it declares.

    Local functions and subgraphs run as well. Initializers are converted once; casts between floats
    do nothing.

    Args:
        model: a model whose weights are in it, or in `parameters`.
        parameters: values by name of graph inputs (or initializers), so that a model can be run
            without a copy of its weights: arrays of `dtype` are used as they are.
        dtype: np.float64 for the truth, or np.float32 for what float32 arithmetic alone makes of
            the model, without any runtime's shortcuts.

    Raises:
        GraphError: the model has an op without a reference implementation, weights in other files,
            or an opset older than 13.
        InputError: a parameter is no input of the model or has another shape, or `dtype` is
            another.
    """

    def __init__(
        self,
        model: ModelProto,
        parameters: Mapping[str, np.ndarray] | None = None,
        dtype: DTypeLike = "float64",
    ) -> None:
        import numpy as np
        import onnx

        from nd_deploy.runtime.evaluator import Evaluator, SingleEvaluator

        kinds = {"float64": Evaluator, "float32": SingleEvaluator}
        kind = np.dtype(dtype).name
        if kind not in kinds:
            raise InputError(f"the reference does not compute in {kind}", "use float64 or float32")
        self._dtype = kind
        _check_model(model)
        try:
            self._evaluator = kinds[kind](model)
        except RuntimeError as error:  # onnx's word for an unknown op or domain
            raise GraphError(
                f"the reference cannot run the model: {error}",
                "replace the op by standard ones, or give the model a function body for it",
            ) from error
        ports = {i.name: Port(i.name, None, _shape(i.type)) for i in model.graph.input}
        initialised = {t.name: Port(t.name, None, tuple(t.dims)) for t in model.graph.initializer}
        self._parameters = dict(parameters or {})
        replaceable = {**initialised, **ports}
        check_feeds(
            [replaceable[name] for name in self._parameters if name in replaceable],
            self._parameters,
        )
        bound = {*initialised, *self._parameters}
        self._ports = [port for name, port in ports.items() if name not in bound]
        self._outputs = [output.name for output in model.graph.output]
        self._known = bound.union(ports, *(node.output for node in model.graph.node))
        self._receipt = Receipt(
            runtime="reference",
            version=f"onnx {onnx.__version__}",
            providers_asked=("numpy",),
            providers_got=("numpy",),
            options={"dtype": kind},
            tf32=False,
        )

    @property
    def receipt(self) -> Receipt:
        """What the model runs with."""
        return self._receipt

    def run(
        self, feeds: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Run the model once.

        Args:
            feeds: every input by name that has neither initializer nor parameter, in the model's
                shapes and of any float type, or integers.
            outputs: tensors to return, of the graph itself and not inside a function; None for
                the model's outputs.

        Returns:
            The outputs by name, in `dtype` or integers. They may share memory with the feeds and
            the parameters.

        Raises:
            InputError: an input is missing, unknown or of another shape, or no tensor has the
                name of an output.
            BackendError: a node cannot compute on the shapes that reach it.
        """
        from nd_deploy.runtime.evaluator import in_dtype

        check_feeds(self._ports, feeds)
        wanted = self._outputs if outputs is None else list(outputs)
        absent = [name for name in wanted if name not in self._known]
        if absent:
            raise InputError(
                f"the model has no tensor '{absent[0]}'", "name an input or a node's output"
            )
        values = self._evaluator.run(
            wanted,
            {**self._parameters, **{name: in_dtype(v, self._dtype) for name, v in feeds.items()}},
        )
        return dict(zip(wanted, values, strict=True))


def _check_model(model: ModelProto) -> None:
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset < _OLDEST_OPSET:
        raise GraphError(
            f"the model has opset {opset}, and the reference starts at {_OLDEST_OPSET}",
            "export it anew, or convert it with onnx.version_converter",
        )
    for tensor in model.graph.initializer:
        if tensor.data_location == tensor.EXTERNAL:
            raise GraphError(
                f"the weights of '{tensor.name}' are in another file",
                "load the model with onnx.load, which reads them",
            )


def _shape(kind: object) -> tuple[int | str | None, ...] | None:
    tensor = kind.tensor_type  # type: ignore[attr-defined]
    if not tensor.HasField("shape"):
        return None
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None
        for dim in tensor.shape.dim
    )
