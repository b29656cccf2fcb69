"""What differs between two measurements besides their models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nd_deploy.profiling.environment.record import Environment
from nd_deploy.profiling.figures import Remark
from nd_deploy.profiling.results import Profile, Row

OTHER_ENVIRONMENT, OTHER_METHOD = "other environment", "other method"

_REMEDY = "measure both in the same way on the same machine: the change is not only the model's"
_GPU = {
    "GPU": "name",
    "driver": "driver",
    "CUDA of the driver": "cuda",
    "power limit of the GPU": "power_limit_w",
    "locked clocks of the GPU": "locked_clocks",
    "persistence of the GPU": "persistence",
}
_JETSON = {
    "board": "model",
    "Jetson Linux": "release",
    "power mode": "power_mode",
    "clocks of the board": "clocks",
}
_CPU = {
    "CPU": "model",
    "logical processors": "logical",
    "quota of processors": "quota",
    "governor": "governor",
    "turbo": "turbo",
}
_RECEIPT = {"threads": "threads", "TF32": "tf32"}


def differences(old: Profile, new: Profile, pairs: Sequence[tuple[Row, Row]]) -> tuple[Remark, ...]:
    """What else than the models may be behind a change.

    Args:
        old: a measurement.
        new: another one.
        pairs: the rows of both that are compared.

    Returns:
        A remark for each fact that both know and that is not the same.
    """
    were, are = _facts(old.environment), _facts(new.environment)
    found = [_remark(name, was, are.get(name)) for name, was in were.items()]
    found.append(_remark("processes", old.method.processes, new.method.processes, OTHER_METHOD))
    found += _of_receipts(pairs)
    found += [_ended_early(which) for which, one in (("old", old), ("new", new)) if one.interrupted]
    return tuple(remark for remark in found if remark is not None)


def _facts(environment: Environment) -> dict[str, object]:
    return {
        "machine": environment.machine,
        "system": environment.system,
        "Python": environment.python,
        **_read(environment.cpu, _CPU),
        "processors that may be used": len(environment.cpu.affinity),
        **_read(environment.gpu, _GPU),
        **_read(environment.jetson, _JETSON),
        **environment.versions,
    }


def _read(record: object, names: dict[str, str]) -> dict[str, object]:
    return {name: getattr(record, field, None) for name, field in names.items()}


def _of_receipts(pairs: Iterable[tuple[Row, Row]]) -> list[Remark]:
    """A remark for each thing that rows were run with otherwise, however many they are."""
    whose: dict[Remark, list[str]] = {}
    for old, new in pairs:
        for name, field in _RECEIPT.items():
            remark = _remark(name, old.receipt.get(field), new.receipt.get(field))
            if remark is not None:
                whose.setdefault(remark, []).append(str(new.contestant))
    return [_with_rows(remark, rows) for remark, rows in whose.items()]


def _with_rows(remark: Remark, rows: Sequence[str]) -> Remark:
    more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    return Remark(remark.kind, f"{remark.problem} ({rows[0]}{more})", remark.remedy)


def _remark(name: str, was: object, now: object, kind: str = OTHER_ENVIRONMENT) -> Remark | None:
    # What one of them does not know is no difference that is known.
    if was is None or now is None or was == now:
        return None
    return Remark(kind, f"{name}: was {_word(was)}, is {_word(now)}", _REMEDY)


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _ended_early(which: str) -> Remark:
    return Remark(
        OTHER_METHOD,
        f"the {which} measurement was ended early",
        "let it end, or trust its intervals less",
    )
