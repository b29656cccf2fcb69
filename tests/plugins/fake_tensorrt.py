"""As much of TensorRT's Python module as a plugin is made of, without TensorRT."""

import types
from dataclasses import dataclass, field
from enum import Enum


class DataType(Enum):
    FLOAT, HALF, BF16, INT32 = range(4)


class TensorFormat(Enum):
    LINEAR, HWC8 = range(2)


class PluginFieldType(Enum):
    INT32, FLOAT32, INT64 = range(3)


@dataclass
class PluginField:
    name: str
    data: object
    type: PluginFieldType

    @property
    def size(self):
        return self.data.size


@dataclass
class PluginTensorDesc:
    dims: tuple
    type: DataType = DataType.FLOAT
    format: TensorFormat = TensorFormat.LINEAR


@dataclass
class DynamicPluginTensorDesc:
    desc: PluginTensorDesc


@dataclass
class Registry:
    all_creators: list = field(default_factory=list)
    accepts: bool = True

    def register_creator(self, creator, namespace):
        if self.accepts:
            self.all_creators.append(creator)
        return self.accepts


def fake_tensorrt():
    """A module with a registry of its own."""
    module = types.ModuleType("fake_tensorrt")
    registry = Registry()
    interface = {"__init__": lambda self: self.__dict__.setdefault("initialised", []).append(1)}
    names = ["IPluginV3", "IPluginV3OneCore", "IPluginV3OneBuild", "IPluginV3OneRuntime"]
    for name in [*names, "IPluginCreatorV3One"]:
        setattr(module, name, type(name, (), dict(interface)))
    for kind in (DataType, TensorFormat, PluginFieldType, PluginField):
        setattr(module, kind.__name__, kind)
    module.PluginFieldCollection, module.DimsExprs = list, tuple
    module.get_plugin_registry = lambda: registry
    return module
