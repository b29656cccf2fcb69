"""What a gate ran on, in words."""

from __future__ import annotations

from nd_deploy.parity.report import Gate


def ran_on(gate: Gate) -> str:
    """The runtime of a gate, its version, and whatever else it says about how it ran."""
    details = dict(gate.details)
    # What was asked for is of interest only where it is not what was got.
    if details.get("providers_asked") == details.get("providers_got"):
        details.pop("providers_asked", None)
    head = [str(details.pop(name)) for name in ("runtime", "version") if name in details]
    rest = [
        f"{name} {_in_words(value)}" for name, value in details.items() if value not in (None, {})
    ]
    return ", ".join([" ".join(head), *rest] if head else rest)


def _in_words(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={item}" for name, item in value.items())
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
