"""Tensors in the memory that a plugin library computes in: the process's own, or a GPU's.

Each lies between two margins, so that what is written outside of it shows.
"""

from __future__ import annotations

from collections.abc import Sequence

import ml_dtypes
import numpy as np
import v3

TYPES = {v3.FLOAT: np.float32, v3.HALF: np.float16, v3.BF16: ml_dtypes.bfloat16}

_MARGIN = 256
_FILL = 0xA5


class Tensor:
    """Numbers in device memory.

    Args:
        memory: where.
        values: what they are at first.
        kind: nvinfer1::DataType of the numbers.
        shift: by how many elements the tensor misses the alignment of an allocation.
    """

    def __init__(self, memory: HostMemory | GpuMemory, values, kind: int, shift: int = 0) -> None:
        self.values = np.ascontiguousarray(values, TYPES[kind])
        self.kind, self.memory = kind, memory
        self.offset = _MARGIN + shift * self.values.itemsize
        content = np.full(self.offset + self.values.nbytes + _MARGIN, _FILL, np.uint8)
        content[self.offset : self.offset + self.values.nbytes] = np.frombuffer(
            self.values.tobytes(), np.uint8
        )
        self.block = memory.put(content)

    @property
    def pointer(self) -> int:
        return self.memory.address(self.block) + self.offset

    @property
    def desc(self) -> v3.TensorDesc:
        return v3.desc(self.values.shape, self.kind)

    def read(self) -> np.ndarray:
        """The numbers as float64; the margins have to be untouched."""
        content = self.memory.get(self.block)
        end = self.offset + self.values.nbytes
        assert (content[: self.offset] == _FILL).all(), "written in front of the tensor"
        assert (content[end:] == _FILL).all(), "written behind the tensor"
        numbers = np.frombuffer(content[self.offset : end].tobytes(), TYPES[self.kind])
        return numbers.reshape(self.values.shape).astype(np.float64)


class HostMemory:
    """The memory of an emulated library."""

    def put(self, content: np.ndarray) -> np.ndarray:
        # Allocations on a GPU are aligned to 256 bytes, and the library may count on it.
        block = np.empty(content.size + _MARGIN, np.uint8)
        start = -block.ctypes.data % _MARGIN
        block[start : start + content.size] = content
        return block[start : start + content.size]

    def address(self, block: np.ndarray) -> int:
        return block.ctypes.data

    def get(self, block: np.ndarray) -> np.ndarray:
        return block.copy()


class GpuMemory:
    """The memory of the GPU."""

    def __init__(self) -> None:
        import torch

        self.torch = torch

    def put(self, content: np.ndarray) -> object:
        return self.torch.from_numpy(content).cuda()

    def address(self, block) -> int:
        return block.data_ptr()

    def get(self, block) -> np.ndarray:
        self.torch.cuda.synchronize()
        return block.cpu().numpy()


def run(
    plugin: v3.Plugin,
    memory: HostMemory | GpuMemory,
    inputs: Sequence[tuple[np.ndarray, int]],
    shapes: Sequence[Sequence[int]],
    shift: int = 0,
) -> list[np.ndarray]:
    """Have a plugin compute, as TensorRT would: build time, a copy for a context, run time.

    Args:
        plugin: an instance that was created to be built into an engine.
        memory: where it computes.
        inputs: values and nvinfer1::DataType of each.
        shapes: of the outputs, whose type is that of input 0.
        shift: by how many elements x and the outputs miss the alignment of an allocation.

    Returns:
        The outputs in float64.
    """
    kind = inputs[0][1]
    read = [
        Tensor(memory, values, input_kind, shift if place == 0 else 0)
        for place, (values, input_kind) in enumerate(inputs)
    ]
    written = [Tensor(memory, np.full(shape, 7.0), kind, shift) for shape in shapes]
    at_build = [[_known(tensor) for tensor in tensors] for tensors in (read, written)]
    plugin.configure(*at_build)
    bytes_ = plugin.workspace(*at_build)
    workspace = Tensor(memory, np.zeros(bytes_ // 4 + 1), v3.FLOAT)

    descs = [tensor.desc for tensor in read], [tensor.desc for tensor in written]
    runtime = plugin.attach()
    runtime.on_shape_change(*descs)
    pointers = [tensor.pointer for tensor in read], [tensor.pointer for tensor in written]
    runtime.enqueue(*descs, *pointers, workspace.pointer if bytes_ else None)
    workspace.read()
    for tensor in read:
        assert tensor.read().tobytes() == tensor.values.astype(np.float64).tobytes()
    return [tensor.read() for tensor in written]


def _known(tensor: Tensor) -> v3.DynamicTensorDesc:
    return v3.profile(tensor.values.shape, tensor.values.shape, tensor.kind)


def round_to(values: np.ndarray, kind: int) -> np.ndarray:
    """Values as a tensor of this type holds them, in float64."""
    return np.asarray(values).astype(TYPES[kind]).astype(np.float64)
