"""What was built, as found out after the fact and not as asked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nd_deploy.bundle import strict_json
from nd_deploy.runtime.tensorrt.building.paths import LayerPath
from nd_deploy.runtime.tensorrt.building.plugins import PluginRecord
from nd_deploy.runtime.tensorrt.building.precision import LayerPrecision
from nd_deploy.runtime.tensorrt.profile import Profile


@dataclass(frozen=True)
class BuildReceipt:
    """How an engine was built.

    Attributes:
        library: "tensorrt" or "tensorrt_rtx".
        version: its version.
        model_sha256: the hash of the model, external weights included.
        device: the GPU that it was built on and for, or "portable".
        compute_capability: such as "9.0", or several joined by commas, or "portable".
        precision: the float types of the network's products, the most frequent first.
        tf32: whether float32 products may be computed in TF32.
        profiles: the shapes that it takes.
        settings: what else was set, by name.
        paths: what each ND layer is in the network.
        layers: the precision of every layer that gives floats.
        layers_from: where these were read: from the engine itself, or from the network.
        plugins: what was registered for the build.
        warnings: TensorRT's own.
        engine_sha256: the hash of the plan.
        engine_bytes: its size.
        seconds: that the build took, reading the model included.
    """

    library: str
    version: str
    model_sha256: str
    device: str
    compute_capability: str
    precision: str
    tf32: bool
    profiles: tuple[Profile, ...]
    settings: Mapping[str, str]
    paths: tuple[LayerPath, ...]
    layers: tuple[LayerPrecision, ...]
    layers_from: str
    plugins: tuple[PluginRecord, ...]
    warnings: tuple[str, ...]
    engine_sha256: str
    engine_bytes: int
    seconds: float

    def precisions(self) -> dict[str, int]:
        """How many layers there are of each precision, the most frequent first."""
        return dict(Counter(layer.precision for layer in self.layers).most_common())

    def as_dict(self) -> dict[str, Any]:
        """The receipt as JSON-ready fields."""
        profiles = [profile.as_dict() for profile in self.profiles]
        # By way of JSON, so that what is stored and what is read again are the same.
        fields: dict[str, Any] = json.loads(
            strict_json.dumps(asdict(self) | {"profiles": profiles})
        )
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> BuildReceipt:
        """The inverse of `as_dict`.

        Raises:
            KeyError, TypeError: a field is missing or unknown.
        """
        read = {
            "profiles": tuple(map(Profile.from_dict, fields["profiles"])),
            "paths": tuple(LayerPath(**_tuples(path)) for path in fields["paths"]),
            "layers": tuple(LayerPrecision(**layer) for layer in fields["layers"]),
            "plugins": tuple(PluginRecord(**_tuples(plugin)) for plugin in fields["plugins"]),
            "warnings": tuple(fields["warnings"]),
        }
        return cls(**{**fields, **read})


def _tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Lists, which is what JSON makes of tuples, as those again."""
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
