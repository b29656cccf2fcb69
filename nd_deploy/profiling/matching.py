"""Which rows of two measurements are of the same thing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from nd_deploy.errors import InputError
from nd_deploy.profiling.contestant import Contestant
from nd_deploy.profiling.entries import BUNDLE
from nd_deploy.profiling.results import ModelRecord, Profile, Row

Pair: TypeAlias = tuple[Row, Row]
"""A row of the old measurement, and the same of the new one."""

# Kinds of models that are matched whatever they are called, if there is one in each measurement.
_ALONE = (BUNDLE, "trtexec")


@dataclass(frozen=True)
class Matching:
    """The rows of two measurements.

    Attributes:
        pairs: those that both have, in the order of the new one.
        only_old: the names of the rows that only the old measurement has.
        only_new: the names of those that only the new one has.
    """

    pairs: tuple[Pair, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]


def match_rows(old: Profile, new: Profile) -> Matching:
    """Find the rows of two measurements that are of the same thing.

    Rows are the same if they ran models of the same kind and name in the same runtime and batch, in
    the same way. If each measurement has one bundle, the two are taken for the same model whatever
    they are called, and likewise if each has one model that trtexec measured.

    Args:
        old: a measurement.
        new: another one.

    Returns:
        Every row of both.

    Raises:
        InputError: no row is in both.
    """
    old_rows, new_rows = _rows_by_key(old, new), _rows_by_key(new, old)
    pairs = tuple((old_rows[key], row) for key, row in new_rows.items() if key in old_rows)
    if not pairs:
        raise InputError(
            f"the two measurements have no row in common: the old one has {_example(old)}, the "
            f"new one {_example(new)}",
            "measure the same runtimes and batches, and call the models the same",
        )
    return Matching(pairs, _missing(old_rows, new_rows), _missing(new_rows, old_rows))


def _rows_by_key(profile: Profile, other: Profile) -> dict[Contestant, Row]:
    """The rows of a measurement by their contestants, with what the model is in both for a name."""
    models = {model.name: _key(model, profile, other) for model in profile.models}
    return {
        replace(row.contestant, model=models.get(row.contestant.model, row.contestant.model)): row
        for row in profile.rows
    }


def _key(model: ModelRecord, *profiles: Profile) -> str:
    alone = all([m.kind for m in profile.models].count(model.kind) == 1 for profile in profiles)
    return model.kind if alone and model.kind in _ALONE else f"{model.kind} {model.name}"


def _missing(rows: Mapping[Contestant, Row], others: Mapping[Contestant, Row]) -> tuple[str, ...]:
    return tuple(str(row.contestant) for key, row in rows.items() if key not in others)


def _example(profile: Profile) -> str:
    if not profile.rows:
        return "none at all"
    more = f" and {len(profile.rows) - 1} more" if len(profile.rows) > 1 else ""
    return f"{str(profile.rows[0].contestant)!r}{more}"
