"""Models as ONNX text, and what a pass makes of them.

Parameters are listed after the signature without values and get random ones: a name that begins
with D is a whitening matrix as training leaves it, one that begins with var is positive.
"""

from dataclasses import dataclass

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnxruntime
from onnx import numpy_helper, parser

from nd_deploy.nd import dialect
from nd_deploy.passes.base import PassResult
from nd_deploy.passes.model import load, store
from nd_deploy.runtime.reference import ReferenceRunner

HEADER = '<ir_version: 10, opset_import: ["": {opset}, "nd_deploy": 1]>\n'
# Sizes of symbolic axes in inputs.
SIZES = {"N": 3, "H": 6, "W": 5}


def parse(text, seed=0, opset=18, **values):
    """A checked model from the text of its graph, with bodies for the dialect ops in it.

    An output of type `float[]` has whatever shape is inferred.
    """
    model = parser.parse_model(HEADER.format(opset=opset) + "network " + text)
    rng = np.random.default_rng(seed)
    computed = {name for node in model.graph.node for name in node.output}
    for info in [v for v in model.graph.value_info if v.name not in computed]:
        value = values.pop(info.name, None)
        if value is None:
            value = _draw(rng, info)
        kind = onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
        array = np.asarray(value).astype(kind)
        model.graph.initializer.append(numpy_helper.from_array(array, info.name))
        model.graph.value_info.remove(info)
    assert not values, f"the model has no parameter {list(values)}"
    dialect.register_schemas()
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    for output, known in zip(model.graph.output, inferred.graph.output, strict=True):
        output.CopyFrom(known)
    dialect.attach_functions(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def _draw(rng, info):
    shape = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
    if info.name.startswith("D"):
        return whitening(rng, shape)
    value = rng.normal(size=shape)
    return value**2 + 0.1 if info.name.startswith("var") else value


def whitening(rng, shape):
    """(..., F, F): inverse roots of random covariances, by five Newton-Schulz steps."""
    mixing = rng.normal(size=(*shape, 2)).sum(-1)
    covariance = mixing @ np.swapaxes(mixing, -1, -2) / shape[-1] + 1e-2 * np.eye(shape[-1])
    scale = np.linalg.norm(covariance, axis=(-2, -1), keepdims=True)
    Y, Z = covariance / scale, np.eye(shape[-1])
    for _ in range(5):
        T = 1.5 * np.eye(shape[-1]) - 0.5 * Z @ Y
        Y, Z = Y @ T, T @ Z
    return Z / np.sqrt(scale)


def geometry(kernel, stride=1, padding=0, dilation=1, group=1):
    """The attributes of an NDFastDeconv with the same numbers in both directions."""
    return (
        f"kernel_shape=[{kernel}, {kernel}], strides=[{stride}, {stride}], "
        f"pads=[{padding}, {padding}, {padding}, {padding}], "
        f"dilations=[{dilation}, {dilation}], group={group}"
    )


def feeds(model, seed=1, **sizes):
    """Random inputs with a mean, as whitening meets them."""
    rng = np.random.default_rng(seed)
    known = SIZES | sizes
    return {port.name: _feed(rng, port.type.tensor_type, known) for port in model.graph.input}


def _feed(rng, kind, known):
    shape = [dim.dim_value or known.get(dim.dim_param, 1) for dim in kind.shape.dim]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    return np.asarray(rng.normal(size=shape) + 0.5).astype(dtype)


def in_onnxruntime(model, inputs, optimise=True):
    """The outputs of a float32 model, dialect nodes by their function bodies."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    levels = onnxruntime.GraphOptimizationLevel
    level = levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def in_float64(model, inputs):
    """The outputs in float64 numpy, dialect nodes by their function bodies."""
    return ReferenceRunner(model).run(inputs)


def assert_close(found, expected, tolerance):
    """Compare outputs by name, relative to the largest entry of each."""
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].shape == value.shape
        if value.dtype == bool:
            assert np.array_equal(found[name], value)
            continue
        error = np.abs(found[name] - value).max() / (np.abs(value).max() or 1)
        assert error <= tolerance, f"{name} is off by {error:.1e}"


def assert_same_outputs(before, graph, inputs):
    """Hold a rewritten graph against the model that it came from, in float64 and in float32."""
    exact = store(graph, np.float64)
    assert_close(in_float64(exact, inputs), in_float64(before, inputs), 1e-12)
    after = store(graph)
    onnx.checker.check_model(after, full_check=True)
    expected = in_onnxruntime(before, inputs, optimise=False)
    for optimise in (False, True):
        assert_close(in_onnxruntime(after, inputs, optimise), expected, 1e-5)


@dataclass
class Rewritten:
    """A model before and after some passes, proven equal."""

    before: onnx.ModelProto
    graph: gs.Graph
    results: list[PassResult]

    @property
    def model(self):
        """The float32 model with its provenance."""
        return store(self.graph, decisions=self.decisions)

    @property
    def ops(self):
        """The op types that are left, in order."""
        return [node.op for node in self.graph.nodes]

    @property
    def decisions(self):
        return [decision for result in self.results for decision in result.decisions]

    @property
    def decision(self):
        (decision,) = self.decisions
        return decision

    @property
    def refusal(self):
        """The one reason for which a layer was left alone."""
        assert not self.decisions
        ((_, refusal),) = [pair for result in self.results for pair in result.refusals]
        return refusal.reason

    def initializer(self, name):
        """A parameter of the graph, in float64."""
        (values,) = {
            id(tensor): tensor.values
            for node in self.graph.nodes
            for tensor in node.inputs
            if tensor.name == name
        }.values()
        return values


def rewrite(text, *passes, seed=0, opset=18, sizes=None, given=None, runs=True, **values):
    """Run passes over a model in text, or one that was parsed, and check its outputs.

    `given` are inputs that cannot be random. A model that no runtime takes, because it is wrong or
    too large, is said not to run.
    """
    before = parse(text, seed, opset, **values) if isinstance(text, str) else text
    untouched = before.SerializeToString(deterministic=True)
    graph = load(before)
    results = [run(graph) for run in passes]
    assert before.SerializeToString(deterministic=True) == untouched
    if runs:
        assert_same_outputs(before, graph, feeds(before, **(sizes or {})) | (given or {}))
    return Rewritten(before, graph, results)
