"""A TensorRT whose engines are JSON and compute y = 2 x, on a `FakeCuda`.

It is as strict as the real one: about the order of calls, about shapes outside the profile, about
addresses that are not set, and about a context that is changed while a graph of it exists.
"""

from __future__ import annotations

import json
import math
from enum import Enum, IntEnum

import numpy as np

DTYPES = {"FLOAT": "f4", "HALF": "f2", "INT32": "i4", "BOOL": "?"}


class Severity(Enum):
    ERROR = 1
    INFO = 3


class TensorIOMode(Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class TensorLocation(Enum):
    DEVICE = 0
    HOST = 1


class TensorFormat(Enum):
    LINEAR = 0
    CHW32 = 5


class DataType(Enum):
    FLOAT = 0
    HALF = 1
    INT32 = 3
    BOOL = 4
    BF16 = 7
    FP8 = 6


class EngineValidity(Enum):
    VALID = 0
    INVALID = 2


class EngineInvalidityDiagnostics(IntEnum):
    VERSION_MISMATCH = 1
    UNSUPPORTED_CC = 2


class ILogger:
    pass


def plan(
    shape=(-1, 3),
    profiles=(((1, 3), (2, 3), (4, 3)),),
    dtype="FLOAT",
    **facts,
) -> bytes:
    """An engine of one input x and one output y of its shape."""
    tensor = {"dtype": dtype, "shape": shape}
    return json.dumps({"x": tensor, "profiles": profiles, **facts}).encode()


def batch(size, dtype="f4", start=0):
    """Feeds of the engine, of `size` rows that count up from `start`."""
    return {"x": np.arange(start, start + 3 * size).reshape(size, 3).astype(dtype)}


class FakeTensorRT:
    """The module."""

    ILogger = ILogger
    TensorIOMode, TensorLocation, TensorFormat = TensorIOMode, TensorLocation, TensorFormat
    EngineValidity, EngineInvalidityDiagnostics = EngineValidity, EngineInvalidityDiagnostics
    __version__ = "10.16.1"
    __name__ = "tensorrt"

    def __init__(self, cuda, validity=None, runs=True):
        self.cuda = cuda
        self.validity = validity
        self.runs = runs
        self.libraries = []

    def init_libnvinfer_plugins(self, logger, namespace):
        self.built_in = True

    def get_plugin_registry(self):
        return self

    def load_library(self, path):
        if "broken" in path:
            return None
        self.libraries.append(path)
        return object()

    def Runtime(self, logger):  # noqa: N802 - TensorRT's own name
        if not self.runs:
            raise TypeError("factory function returned nullptr")
        runtime = FakeRuntime(self, logger)
        if self.validity is not None:
            runtime.get_engine_validity = lambda plan: self.validity
        return runtime


class FakeRuntime:
    def __init__(self, trt, logger):
        self.trt, self.logger = trt, logger
        self.engine_host_code_allowed = False

    def deserialize_cuda_engine(self, plan):
        try:
            facts = json.loads(plan)
        except ValueError:
            self.logger.log(Severity.ERROR, "Magic tag does not match")
            return None
        if facts.get("host_code") and not self.engine_host_code_allowed:
            said = "Cannot deserialize: IRuntime::getEngineHostCodeAllowed() is false."
            self.logger.log(Severity.ERROR, said)
            return None
        if facts.get("refused"):
            self.logger.log(Severity.ERROR, facts["refused"])
            return None
        return FakeEngine(self.trt, self.logger, facts)


class FakeEngine:
    name = "double"
    num_io_tensors = 2
    num_layers = 1

    def __init__(self, trt, logger, facts):
        self.trt, self.logger, self.facts = trt, logger, facts
        self.num_optimization_profiles = len(facts["profiles"])
        self.device_memory_size_v2 = facts.get("device_memory", 100)
        self.contexts = []

    def get_tensor_name(self, index):
        return "xy"[index]

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name == "x" else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        return DataType[self.facts["x"]["dtype"]]

    def get_tensor_shape(self, name):
        return self.facts["x"]["shape"]

    def get_tensor_location(self, name):
        return TensorLocation[self.facts.get("location", "DEVICE")]

    def get_tensor_format(self, name):
        return TensorFormat[self.facts.get("format", "LINEAR")]

    def get_tensor_format_desc(self, name):
        return "Thirty-two wide channel vectorized format"

    def get_tensor_profile_shape(self, name, index):
        assert name == "x"
        return self.facts["profiles"][index]

    def create_execution_context(self):
        if "no_context" in self.facts:
            self.logger.log(Severity.ERROR, self.facts["no_context"])
            return None
        self.contexts.append(FakeContext(self))
        return self.contexts[-1]


class FakeContext:
    def __init__(self, engine):
        self.engine = engine
        self.profile = 0
        self.shape = None
        self.addresses = {}
        self.graphs = 0
        self.ready = False
        if engine.facts.get("capturable") is not None:
            self.is_stream_capturable = lambda stream: engine.facts["capturable"]

    def set_optimization_profile_async(self, index, stream):
        self._change()
        self.engine.trt.cuda.enqueue(stream, lambda: None)
        self.profile = index
        self.shape = None
        return not self.engine.facts.get("stuck")

    def set_input_shape(self, name, shape):
        self._change()
        low, _, high = self.engine.facts["profiles"][self.profile]
        if not all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True)):
            self.engine.logger.log(Severity.ERROR, f"{shape} is outside of the profile")
            return False
        self.shape = tuple(shape)
        return not self.engine.facts.get("picky")

    def get_tensor_shape(self, name):
        data_dependent = self.engine.facts.get("data_dependent") and name == "y"
        return (-1, *self.shape[1:]) if data_dependent else self.shape

    def set_tensor_address(self, name, address):
        self._change()
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream):
        cuda = self.engine.trt.cuda
        recording = cuda.streams[stream].recording is not None
        if self.engine.facts.get("fails"):
            self.engine.logger.log(Severity.ERROR, self.engine.facts["fails"])
            return False
        assert self.ready or not recording, "the first run may not be recorded"
        self.ready = True
        self.graphs += recording
        cuda.log.append("record" if recording else "execute")
        x, y = (cuda.device[self.addresses[name]] for name in "xy")
        dtype = np.dtype(DTYPES[self.engine.facts["x"]["dtype"]])
        size = math.prod(self.shape) * dtype.itemsize

        def work():
            y[:size].view(dtype)[:] = x[:size].view(dtype) * dtype.type(2)

        cuda.enqueue(stream, work)
        return True

    def _change(self):
        assert not self.graphs, "a graph of this context would be invalid"
        self.ready = False
