"""The ND plugins in Python, for hosts where the C++ ones cannot be built.

They have the names, versions, namespace and fields of the C++ plugins and compute with PyTorch.
TensorRT calls them from Python at inference, so they are slow on the host; what they are for is a
machine without nvcc, and tests.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

from nd_deploy.errors import BackendError
from nd_deploy.nd.dialect import DOMAIN
from nd_deploy.plugins.twin_ops import PLUGIN_OPS, PluginOp
from nd_deploy.plugins.twin_plugin import PLUGIN_VERSION, TwinPlugin, plugin_fields, read_fields

TensorRT = Any  # the module tensorrt or tensorrt_rtx

_BASES = ("IPluginV3", "IPluginV3OneCore", "IPluginV3OneBuild", "IPluginV3OneRuntime")
# A registry holds creators by address, so they have to outlive it.
_CREATORS: list[object] = []


def register(trt: TensorRT, namespace: str = DOMAIN) -> list[str]:
    """Register every Python plugin with TensorRT; registering again changes nothing.

    A plugin that is registered already, such as one of the C++ library, is left as it is.

    Args:
        trt: the module `tensorrt`, 10.0 or newer, or `tensorrt_rtx`.
        namespace: of the plugins; nodes name theirs in the attribute plugin_namespace.

    Returns:
        The names of the ops that plugins now compute.

    Raises:
        BackendError: this TensorRT has no IPluginV3, or refuses a plugin.
    """
    missing = [name for name in (*_BASES, "IPluginCreatorV3One") if not hasattr(trt, name)]
    if missing:
        version = getattr(trt, "__version__", "")
        raise BackendError(
            f"{trt.__name__} {version} has no {', '.join(missing)}",
            "install TensorRT 10.0 or newer, or run the function bodies, which need no plugin",
        )
    registry = trt.get_plugin_registry()
    known = {(c.name, c.plugin_version, c.plugin_namespace) for c in registry.all_creators}
    for op in PLUGIN_OPS.values():
        if (op.name, PLUGIN_VERSION, namespace) in known:
            continue
        creator = _creator(trt, op, namespace)
        if not registry.register_creator(creator, namespace):
            raise BackendError(
                f"{trt.__name__} refuses to register the plugin {op.name} in {namespace!r}",
                "look at TensorRT's own messages above",
            )
        _CREATORS.append(creator)
    return list(PLUGIN_OPS)


def _creator(trt: TensorRT, op: PluginOp, namespace: str) -> object:
    """An IPluginCreatorV3One of one op, of a class that derives from this module's bases."""
    base = trt.IPluginCreatorV3One
    attributes = {"trt": trt, "op": op, "plugin_class": plugin_class(trt, op, namespace)}
    made: type = types.new_class(
        f"{op.name}Creator", (_Creator, base), exec_body=lambda space: space.update(attributes)
    )
    creator: Any = made()
    creator.name, creator.plugin_version = op.name, PLUGIN_VERSION
    creator.plugin_namespace = namespace
    creator.fields = plugin_fields(trt, op)
    creator.field_names = trt.PluginFieldCollection(creator.fields)
    return creator


def plugin_class(trt: TensorRT, op: PluginOp, namespace: str = DOMAIN) -> type[TwinPlugin]:
    """The plugin of one op, as a class that derives from the interfaces of `trt`."""
    bases = tuple(getattr(trt, name) for name in _BASES)
    attributes: Mapping[str, Any] = {
        "trt": trt,
        "op": op,
        "namespace": namespace,
        "interfaces": bases,
    }
    return types.new_class(
        op.name, (TwinPlugin, *bases), exec_body=lambda space: space.update(attributes)
    )


class _Creator:
    """What `_creator` adds TensorRT's base class to."""

    trt: TensorRT
    op: PluginOp
    plugin_class: type[TwinPlugin]

    def __init__(self) -> None:
        self.trt.IPluginCreatorV3One.__init__(self)

    def create_plugin(self, name: str, fields: Any, phase: Any) -> TwinPlugin:  # noqa: ANN401
        """Make a plugin from the fields of a node or of a serialised engine."""
        return self.plugin_class(read_fields(self.op, fields))
