"""Drive a plugin library through TensorRT's V3 interfaces, by way of harness/harness.cpp.

What a `Plugin` is asked here are the questions that TensorRT asks, in its words.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

FLOAT, HALF, INT8, INT32, INT64, BF16 = 0, 1, 2, 3, 8, 7  # nvinfer1::DataType
LINEAR, CHW4 = 0, 3  # nvinfer1::TensorFormat
HERE = Path(__file__).parent

BUILD, RUNTIME = 0, 1  # nvinfer1::TensorRTPhase
OWN, FOREIGN, UNTYPED = 1, 2, 3  # the finders of harness.cpp

# nvinfer1::PluginFieldType and the numbers that a field of that type holds.
FIELD_TYPES = {1: np.float32, 2: np.float64, 5: np.int32, 6: np.int8, 10: np.int64}


class PluginField(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("type", ctypes.c_int32),
        ("length", ctypes.c_int32),
    )


class FieldCollection(ctypes.Structure):
    _fields_ = (("count", ctypes.c_int32), ("fields", ctypes.POINTER(PluginField)))


class Dims(ctypes.Structure):
    _fields_ = (("rank", ctypes.c_int32), ("sizes", ctypes.c_int64 * 8))


class TensorDesc(ctypes.Structure):
    _fields_ = (
        ("dims", Dims),
        ("type", ctypes.c_int32),
        ("format", ctypes.c_int32),
        ("scale", ctypes.c_float),
    )


class DynamicTensorDesc(ctypes.Structure):
    _fields_ = (("desc", TensorDesc), ("least", Dims), ("most", Dims), ("best", Dims))


_P, _I = ctypes.c_void_p, ctypes.c_int
_STATIC, _DYNAMIC = ctypes.POINTER(TensorDesc), ctypes.POINTER(DynamicTensorDesc)
_COLLECTION = ctypes.POINTER(FieldCollection)
_INTS = ctypes.POINTER(ctypes.c_int32)
_TEXTS = ctypes.POINTER(ctypes.c_char_p)
_POINTERS = ctypes.POINTER(_P)
_SIGNATURES = {
    "sizes": (None, [ctypes.POINTER(ctypes.c_int64)]),
    "set_finder": (None, [_P, _I]),
    "log_text": (ctypes.c_char_p, []),
    "clear_log": (None, []),
    "creator": (_P, [_P, _I]),
    "creator_identity": (None, [_P, _TEXTS]),
    "creator_fields": (_COLLECTION, [_P]),
    "create": (_P, [_P, ctypes.c_char_p, _COLLECTION, _I]),
    "destroy": (None, [_P]),
    "clone": (_P, [_P]),
    "attach": (_P, [_P]),
    "plugin_identity": (None, [_P, _TEXTS]),
    "has_capability": (_I, [_P, _I]),
    "fields_to_serialize": (_COLLECTION, [_P]),
    "output_count": (_I, [_P]),
    "output_types": (_I, [_P, _INTS, _I, _INTS, _I]),
    "output_shapes": (_I, [_P, _INTS, _I, _I, _INTS, _INTS]),
    "supports": (_I, [_P, _I, _DYNAMIC, _I, _I]),
    "configure": (_I, [_P, _DYNAMIC, _I, _DYNAMIC, _I]),
    "workspace": (ctypes.c_size_t, [_P, _DYNAMIC, _I, _DYNAMIC, _I]),
    "on_shape_change": (_I, [_P, _STATIC, _I, _STATIC, _I]),
    "enqueue": (_I, [_P, _STATIC, _STATIC, _POINTERS, _POINTERS, _P, _P]),
}


class RefusedError(Exception):
    """A plugin or a creator said no; the text is what it logged."""


def desc(shape: Sequence[int], kind: int = FLOAT, layout: int = LINEAR) -> TensorDesc:
    """Describe a tensor whose shape is known, or -1 where it is not."""
    return TensorDesc(_dims(shape), kind, layout, 1.0)


def profile(shape: Sequence[int], most: Sequence[int], kind: int = FLOAT) -> DynamicTensorDesc:
    """Describe a tensor at build time, with the largest shape of its profile."""
    return DynamicTensorDesc(desc(shape, kind), _dims(most), _dims(most), _dims(most))


class Host:
    """Something that has loaded a plugin library, as TensorRT does."""

    def __init__(self, harness: Path, library: Path) -> None:
        loaded = ctypes.CDLL(str(harness))
        self.call = {}
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(loaded, f"host_{name}")
            function.restype, function.argtypes = result, arguments
            self.call[name] = function
        self._require_same_layout()
        self.library = ctypes.CDLL(str(library))
        self.find_log(OWN)
        self.creators = {}
        get_creators = ctypes.cast(self.library.getCreators, _P)
        while creator := self.call["creator"](get_creators, len(self.creators)):
            self.creators[_identity(self.call["creator_identity"], creator)] = creator

    def find_log(self, finder: int) -> None:
        """Give the library a logger finder of this kind."""
        self.call["set_finder"](ctypes.cast(self.library.setLoggerFinder, _P), finder)

    def take_log(self) -> str:
        """What was logged since the last time."""
        text = self.call["log_text"]().decode()
        self.call["clear_log"]()
        return text

    def creator_fields(self, op: str) -> list[tuple[str, int]]:
        """Name and type of every field that the creator of `op` asks for."""
        collection = self.call["creator_fields"](self._creator(op)).contents
        return [
            (field.name.decode(), field.type) for field in collection.fields[: collection.count]
        ]

    def create(
        self, op: str, fields: Mapping[str, np.ndarray] | None = None, phase: int = BUILD
    ) -> Plugin:
        """Make a plugin from fields of the types of their arrays; raises RefusedError."""
        collection = _collection(fields or {})
        made = self.call["create"](self._creator(op), b"layer1.norm", collection, phase)
        return Plugin(self, made)

    def _creator(self, op: str) -> int:
        return self.creators[(op, "1", "nd_deploy")]

    def _require_same_layout(self) -> None:
        bytes_ = (ctypes.c_int64 * 4)()
        self.call["sizes"](bytes_)
        ours = (PluginField, FieldCollection, TensorDesc, DynamicTensorDesc)
        assert list(bytes_) == [ctypes.sizeof(structure) for structure in ours]


class Plugin:
    """An IPluginV3, destroyed with this object."""

    def __init__(self, host: Host, handle: int | None) -> None:
        self.handle = handle
        self.host = host
        if handle is None:
            raise RefusedError(host.take_log())

    def __del__(self) -> None:
        if self.handle is not None:
            self.host.call["destroy"](self.handle)

    def clone(self) -> Plugin:
        return Plugin(self.host, self.host.call["clone"](self.handle))

    def attach(self) -> Plugin:
        return Plugin(self.host, self.host.call["attach"](self.handle))

    def identity(self) -> tuple[str, str, str]:
        return _identity(self.host.call["plugin_identity"], self.handle)

    def has_capability(self, kind: int) -> bool:
        return bool(self.host.call["has_capability"](self.handle, kind))

    def fields(self) -> dict[str, np.ndarray]:
        """The fields to serialize, copied as an engine would."""
        collection = self.host.call["fields_to_serialize"](self.handle).contents
        return {
            field.name.decode(): _numbers(field) for field in collection.fields[: collection.count]
        }

    def output_count(self) -> int:
        return self.host.call["output_count"](self.handle)

    def output_types(self, inputs: Sequence[int], outputs: int) -> list[int]:
        given, types = (ctypes.c_int32 * len(inputs))(*inputs), (ctypes.c_int32 * outputs)()
        self._ask("output_types", given, len(inputs), types, outputs)
        return list(types)

    def output_shapes(self, ranks: Sequence[int], outputs: int) -> list[list[tuple[int, int]]]:
        """For each axis of each output, which input and axis it takes its size from."""
        given, found = (ctypes.c_int32 * len(ranks))(*ranks), (ctypes.c_int32 * outputs)()
        sources = (ctypes.c_int32 * (outputs * 8))()
        self._ask("output_shapes", given, len(ranks), outputs, found, sources)
        return [
            [divmod(source, 8) for source in sources[place * 8 : place * 8 + rank]]
            for place, rank in enumerate(found)
        ]

    def supports(self, place: int, tensors: Sequence[TensorDesc], inputs: int) -> bool:
        dynamic = _array(DynamicTensorDesc, [DynamicTensorDesc(tensor) for tensor in tensors])
        outputs = len(tensors) - inputs
        return bool(self.host.call["supports"](self.handle, place, dynamic, inputs, outputs))

    def configure(
        self, inputs: Sequence[DynamicTensorDesc], outputs: Sequence[DynamicTensorDesc]
    ) -> None:
        self._ask("configure", *_both(DynamicTensorDesc, inputs, outputs))

    def workspace(
        self, inputs: Sequence[DynamicTensorDesc], outputs: Sequence[DynamicTensorDesc]
    ) -> int:
        arguments = _both(DynamicTensorDesc, inputs, outputs)
        return self.host.call["workspace"](self.handle, *arguments)

    def on_shape_change(self, inputs: Sequence[TensorDesc], outputs: Sequence[TensorDesc]) -> None:
        self._ask("on_shape_change", *_both(TensorDesc, inputs, outputs))

    def enqueue(
        self,
        inputs: Sequence[TensorDesc],
        outputs: Sequence[TensorDesc],
        read: Iterable[int | None],
        written: Iterable[int | None],
        workspace: int | None,
        stream: int | None = None,
    ) -> None:
        sources, targets = list(read), list(written)
        self._ask(
            "enqueue",
            _array(TensorDesc, inputs),
            _array(TensorDesc, outputs),
            (_P * len(sources))(*sources),
            (_P * len(targets))(*targets),
            workspace,
            stream,
        )

    def _ask(self, what: str, *arguments: object) -> None:
        if self.host.call[what](self.handle, *arguments) != 0:
            raise RefusedError(self.host.take_log())


def _dims(shape: Sequence[int]) -> Dims:
    return Dims(len(shape), (ctypes.c_int64 * 8)(*shape))


def _array(kind: type, items: Sequence[object]) -> ctypes.Array:
    return (kind * len(items))(*items)


def _both(kind: type, inputs: Sequence[object], outputs: Sequence[object]) -> tuple[object, ...]:
    return _array(kind, inputs), len(inputs), _array(kind, outputs), len(outputs)


def _identity(ask: object, handle: int) -> tuple[str, str, str]:
    texts = (ctypes.c_char_p * 3)()
    ask(handle, texts)
    return tuple(text.decode() for text in texts)


def _collection(fields: Mapping[str, np.ndarray]) -> FieldCollection:
    numbers = {np.dtype(kind): number for number, kind in FIELD_TYPES.items()}
    made = [
        PluginField(name.encode(), value.ctypes.data, numbers[value.dtype], value.size)
        for name, value in fields.items()
    ]
    return FieldCollection(len(made), _array(PluginField, made))


def _numbers(field: PluginField) -> np.ndarray:
    kind = np.dtype(FIELD_TYPES[field.type])
    return np.frombuffer(ctypes.string_at(field.data, field.length * kind.itemsize), kind)
