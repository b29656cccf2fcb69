"""What a part of the suite is, and how it ends."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

Row = dict[str, Any]

# Of a part.
RAN, FAILED, NOT_RUN = "ran", "failed", "not run"
# Of a row that is right or wrong; it may also have FAILED or NOT_RUN.
OK, WRONG = "ok", "wrong"
INSTALL = "pip install 'nd-deploy[export,gpu,tensorrt,test]', and PyTorch for this machine's CUDA"
_MOST_REASONS = 3
# What is imported of these is in this repository, and no package that could be installed.
_OURS = ("nd_deploy", "gpu")


class CannotRun(Exception):  # noqa: N818 - it is no error
    """Something that a part needs is not there; the message says what, and what installs it."""


class PartFailed(Exception):  # noqa: N818
    """A part found something wrong.

    Args:
        reason: what, in one sentence.
        rows: what it found out all the same.
    """

    def __init__(self, reason: str, rows: Sequence[Row] = ()) -> None:
        super().__init__(reason)
        self.rows = list(rows)


@dataclass(frozen=True)
class Settings:
    """How the suite runs.

    Attributes:
        quick: fewer shapes and rounds.
        library: the plugin library, once it is built.
        self_registering: the build of it that ONNX Runtime's TensorRT provider loads.
        launchers: the kernels as a library of their own, once they are built.
        headers: the folder of TensorRT's headers, or None to look for it.
        folder: for what parts write.
    """

    quick: bool = False
    library: str | None = None
    self_registering: str | None = None
    launchers: str | None = None
    headers: str | None = None
    folder: str = "out/gpu"


@dataclass(frozen=True)
class Part:
    """What became of one part.

    Attributes:
        name: as on the command line.
        status: RAN, FAILED or NOT_RUN.
        reason: why it failed or did not run; of one that ran, what of it could not.
        rows: what it found out.
        seconds: how long it took.
        command: which it was run with.
        date: on which day.
        quick: whether it was run with fewer shapes and rounds.
    """

    name: str
    status: str
    reason: str = ""
    rows: Sequence[Row] = field(default_factory=list)
    seconds: float = 0.0
    command: str = ""
    date: str = ""
    quick: bool = False

    def as_dict(self) -> Row:
        """The part as JSON-ready fields."""
        return asdict(self)


Run = Callable[[Settings], list[Row]]


def run_here(name: str, find: Callable[[], Run], settings: Settings) -> Part:
    """Run a part in this process, and turn how it ends into a part.

    Args:
        name: of the part.
        find: imports its function.
        settings: of the suite.
    """
    try:
        rows = find()(settings)
        return Part(name, RAN, left_out(rows), rows)
    except CannotRun as reason:
        return Part(name, NOT_RUN, str(reason))
    except PartFailed as failure:
        return Part(name, FAILED, str(failure), failure.rows)
    except Exception as error:  # whatever it is, the other parts still run
        if isinstance(error, ModuleNotFoundError) and not _is_ours(error):
            return Part(name, NOT_RUN, f"{error}: {INSTALL}")
        traceback.print_exc()
        return Part(name, FAILED, f"{type(error).__name__}: {error}")


def _is_ours(error: ModuleNotFoundError) -> bool:
    return (error.name or "").split(".")[0] in _OURS


def left_out(rows: Sequence[Row]) -> str:
    """Which of a part's rows could not be run, and why; "" if all could."""
    reasons = [str(row["reason"]) for row in rows if row.get("status") == NOT_RUN]
    if not reasons:
        return ""
    distinct = list(dict.fromkeys(reasons))
    more = [] if len(distinct) <= _MOST_REASONS else ["and more"]
    return f"{len(reasons)} of {len(rows)} not run: " + "; ".join(
        [*distinct[:_MOST_REASONS], *more]
    )


def require_any(rows: Sequence[Row]) -> None:
    """Do nothing if some row was run.

    Raises:
        CannotRun: none was.
    """
    if rows and all(row.get("status") == NOT_RUN for row in rows):
        raise CannotRun(left_out(rows))


def require_right(rows: Sequence[Row], title: Callable[[Row], str]) -> None:
    """Do nothing if no row is wrong.

    Args:
        rows: with a status each.
        title: what a row is about.

    Raises:
        PartFailed: some are; all rows are kept.
    """
    bad = [row for row in rows if row.get("status") in (WRONG, FAILED)]
    if bad:
        raise PartFailed(
            f"{len(bad)} of {len(rows)} are wrong or failed, first {title(bad[0])}: "
            f"{bad[0]['reason']}",
            rows,
        )


def attempt(about: Row, run: Callable[[], Row]) -> Row:
    """A row with what `run` finds out, or with why it failed: the other rows still count."""
    try:
        return about | run()
    except Exception as error:  # of the library, of PyTorch, of cuDNN
        text = " ".join(str(error).split())[:300]
        return {**about, "status": FAILED, "reason": f"{type(error).__name__}: {text}"}


def settings_from(text: str) -> Settings:
    """Settings from a command line."""
    fields: Mapping[str, Any] = json.loads(text)
    return Settings(**fields)
