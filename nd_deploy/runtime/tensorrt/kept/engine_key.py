"""What an engine was built from and for; two engines of one key may stand in for each other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

SCHEMA_VERSION = 1

PORTABLE = "portable"

_WORDS = {
    "model_sha256": "model's sha256",
    "library": "library",
    "version": "library's version",
    "device": "GPU",
    "compute_capability": "compute capability",
    "precision": "precision",
    "tf32": "use of TF32",
    "profiles": "shape profile",
    "plugins": "plugin libraries",
    "flags": "build flags",
    "schema": "nd-deploy engine schema",
}


@dataclass(frozen=True)
class EngineKey:
    """Everything that decides what an engine computes and where it runs.

    Attributes:
        model_sha256: the hash of the ONNX file, with that of its external weights worked in.
        library: the module that built it, "tensorrt" or "tensorrt_rtx".
        version: its version.
        device: the GPU's name, or "portable" for an engine that is not tied to one.
        compute_capability: such as "9.0"; several are joined by commas, "8.0+" is that one or any
            later, and "portable" is any.
        precision: of the arithmetic, such as "float32" or "float16".
        tf32: whether float32 products may be computed in TF32.
        profiles: the optimisation profiles in canonical text.
        plugins: the sha256 of every plugin library.
        flags: whatever else was set, such as "version_compatible".
        schema: of this record.
    """

    model_sha256: str
    library: str
    version: str
    device: str
    compute_capability: str
    precision: str
    tf32: bool
    profiles: str
    plugins: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    schema: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        for name in ("plugins", "flags"):
            object.__setattr__(self, name, tuple(sorted(set(getattr(self, name)))))

    def digest(self) -> str:
        """The hash of all fields, as hexadecimal digits; the same in every process."""
        text = json.dumps(self.as_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def differences(self, wanted: EngineKey) -> list[str]:
        """Say in what an engine of this key is not the one wanted.

        Args:
            wanted: the key of the engine that is looked for.

        Returns:
            A sentence for each field that differs, with both values, such as "its compute
            capability is 8.6, not 9.0"; empty if none does.
        """
        return [
            f"its {_WORDS[name]} {_verb(name)} {_show(mine)}, not {_show(other)}"
            for name in _names()
            if (mine := getattr(self, name)) != (other := getattr(wanted, name))
        ]

    def misfits(self, wanted: EngineKey) -> list[str]:
        """Say why an engine of this key cannot stand in for the one wanted.

        Unlike `differences`, this lets pass what a portable engine leaves open, and the flags,
        which say how an engine was sought and not what it computes.

        Args:
            wanted: the key of an engine for the GPU and the library that are there.

        Returns:
            A sentence for each reason; empty if the engine will do.
        """
        reduced = asdict(self) | {"flags": wanted.flags}
        if self.device == PORTABLE:
            reduced["device"] = wanted.device
        if covers(self.compute_capability, wanted.compute_capability):
            reduced["compute_capability"] = wanted.compute_capability
        if "version_compatible" in map(str.lower, self.flags):
            reduced["version"] = wanted.version
        return EngineKey(**reduced).differences(wanted)

    def as_dict(self) -> dict[str, Any]:
        """The key as JSON-ready fields."""
        return asdict(self) | {"plugins": list(self.plugins), "flags": list(self.flags)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> EngineKey:
        """The inverse of `as_dict`.

        Raises:
            ValueError: a field is missing, unknown or of another type.
        """
        strange = set(record) ^ set(_names())
        if strange:
            raise ValueError(f"the key's fields are not the known ones: {', '.join(strange)}")
        values = dict(record)
        for name in ("plugins", "flags"):
            if not isinstance(values[name], list):
                raise ValueError(f"the key's {name} is {values[name]!r}, and not a list")
            values[name] = tuple(map(str, values[name]))
        kinds = {"tf32": bool, "schema": int, "plugins": tuple, "flags": tuple}
        for name, value in values.items():
            if type(value) is not kinds.get(name, str):
                raise ValueError(f"the key's {name} is {value!r}")
        return cls(**values)


def covers(built_for: str, capability: str) -> bool:
    """Whether an engine built for some compute capabilities runs on one of them.

    Args:
        built_for: as `EngineKey.compute_capability`.
        capability: that of a GPU, such as "8.9".
    """
    return any(_covers(part.strip(), capability) for part in built_for.split(","))


def _covers(part: str, capability: str) -> bool:
    if part.endswith("+"):
        least = _number(part[:-1])
        return bool(least) and _number(capability) >= least
    return part in (PORTABLE, capability)


def _number(capability: str) -> tuple[int, ...]:
    parts = capability.split(".")
    return tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else ()


def _names() -> list[str]:
    return [field.name for field in fields(EngineKey)]


def _verb(name: str) -> str:
    return "are" if name in ("plugins", "flags") else "is"


def _show(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value) or "none"
