"""What the kernels must reach on an H200, and whether they have.

A verdict is about the worst figure of all that it covers. On another device it says the same of
that device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from gpu.parts import FAILED, Part, Row

REACHED, MISSED, OPEN = "reached", "missed", "not judged"
ON_QUICK = "reached on --quick"

COPY_SHARE = 0.8
OVER_EAGER = 5.0
OVER_ROOFLINE = 2.5
# Roots of mean squares of the same roundings differ by chance.
ERROR_RATIO = 1.05
# Below this a launch alone takes longer than the work on paper.
LEAST_ROOFLINE_US = 5.0


@dataclass(frozen=True)
class Verdict:
    """One line of what must be reached.

    Attributes:
        target: in words.
        status: REACHED, ON_QUICK where not every shape was measured, MISSED or OPEN.
        worst: the worst figure, and where; why there is none if it is OPEN.
        covered: how many figures there are.
        met: how many of them are good enough.
    """

    target: str
    status: str
    worst: str
    covered: int = 0
    met: int = 0

    def as_dict(self) -> Row:
        """The verdict as JSON-ready fields."""
        return asdict(self)


@dataclass(frozen=True)
class Target:
    """One thing to be reached.

    Attributes:
        part: whose rows tell.
        text: in words.
        covers: whether a row counts.
        figure: of a row; None where it has none.
        limit: that the figure is held against.
        at_least: whether it must be that or more, instead of that or less.
    """

    part: str
    text: str
    covers: Callable[[Row], bool]
    figure: Callable[[Row], float | None]
    limit: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Whether a figure is good enough."""
        return value >= self.limit if self.at_least else value <= self.limit

    def worst(self, values: Sequence[tuple[float, str]]) -> tuple[float, str]:
        """The worst figure, and where it was measured."""
        return (min if self.at_least else max)(values, key=lambda item: item[0])


def judge(parts: Sequence[Part]) -> list[Verdict]:
    """Every verdict; those whose part did not run say why."""
    by_name = {part.name: part for part in parts}
    return [_judged(target, by_name.get(target.part)) for target in TARGETS]


def _judged(target: Target, part: Part | None) -> Verdict:
    if part is None:
        return Verdict(target.text, OPEN, f"the part '{target.part}' was not run")
    rows = [row for row in part.rows if target.covers(row)]
    # A call that failed has no figure, and is not good enough for all that.
    broken = [describe(row) for row in rows if row.get("status") == FAILED]
    known = [(value, describe(row)) for row in rows if (value := _figure(target, row)) is not None]
    if not known and not broken:
        unknown = "the device's peaks are not known" if rows else "nothing was measured"
        return Verdict(target.text, OPEN, part.reason or unknown)
    met, covered = sum(target.met(value) for value, _ in known), len(known) + len(broken)
    good = ON_QUICK if part.quick else REACHED
    if broken:
        worst = f"failed: {broken[0]}"
    else:
        value, where = target.worst(known)
        worst = f"{value:.2f} ({where})"
    return Verdict(target.text, good if met == covered else MISSED, worst, covered, met)


def _figure(target: Target, row: Row) -> float | None:
    value = None if row.get("status") == FAILED else target.figure(row)
    # JSON has neither infinities nor NaN, which are kept as text.
    number = None if value is None else float(value)
    return math.inf if number is not None and math.isnan(number) else number


def describe(row: Mapping[str, object]) -> str:
    """What a row is about, in a few words."""
    if "case" in row:
        return f"{row['op']} {row['case']} {row['dtype']}"
    if "layer" in row:
        return f"{row['op']} {row['layer']}, batch {row['batch']}, {row['dtype']}"
    if "size" in row:
        size = row["size"]
        return f"{row['channels']} channels at {size}x{size}, batch {row['batch']}, {row['dtype']}"
    return str(row["what"])


def _is_large(row: Row) -> bool:
    return row.get("what") == "whitening" and row["size"] == 56 and row["batch"] == 32


def _is_wide(row: Row) -> bool:
    return row.get("what") == "whitening" and row["channels"] >= 256


def _is_fast_deconv(row: Row) -> bool:
    return row.get("op") == "FastDeconv"


def _is_worth_judging(arithmetic: str) -> Callable[[Row], bool]:
    key = f"roofline {arithmetic} us"
    return lambda row: (
        _is_fast_deconv(row) and float(row.get(key, LEAST_ROOFLINE_US)) >= LEAST_ROOFLINE_US
    )


def _field(key: str) -> Callable[[Row], float | None]:
    return lambda row: row.get(key)


def _error_ratio(row: Row) -> float | None:
    ours, own = float(row["rms"]), float(row["pytorch rms"])
    if ours == own:  # neither may be off at all
        return 1.0
    return ours / own if own else math.inf


def _roofline(arithmetic: str, text: str) -> Target:
    return Target(
        "dynamic",
        f"b. NDFastDeconvDynamic takes at most {OVER_ROOFLINE} x its roofline with {text} "
        f"arithmetic, for ResNet-18's layers of at least {LEAST_ROOFLINE_US:.0f} us on paper, at "
        "batch 1 and 32",
        _is_worth_judging(arithmetic),
        _field(f"over roofline {arithmetic}"),
        OVER_ROOFLINE,
    )


TARGETS = (
    Target(
        "frozen",
        f"a. the frozen ChannelDeconv moves bytes at {COPY_SHARE:.0%} of a copy's rate or more, "
        "from 64 channels on at 56x56 and batch 32",
        _is_large,
        _field("share of copy"),
        COPY_SHARE,
        at_least=True,
    ),
    Target(
        "frozen",
        "a. it is faster than cuDNN's 1x1 convolution from 256 channels on, at 56x56 and batch 32",
        lambda row: _is_large(row) and _is_wide(row),
        _field("faster than conv"),
        1.0,
        at_least=True,
    ),
    Target(
        "frozen",
        "a. it is faster than that at every size and batch of the table",
        _is_wide,
        _field("faster than conv"),
        1.0,
        at_least=True,
    ),
    Target(
        "dynamic",
        f"b. a FastDeconv of the batch, convolution included, is {OVER_EAGER:.0f} x faster than "
        "PyTorch's training-mode forward, for ResNet-18's layers at batch 1 and 32",
        _is_fast_deconv,
        _field("faster than eager"),
        OVER_EAGER,
        at_least=True,
    ),
    _roofline("tf32", "TF32"),
    _roofline("fp32", "float32"),
    Target(
        "errors",
        "errors against float64 are no larger than PyTorch's own (root mean squares, as a ratio)",
        lambda row: True,
        _error_ratio,
        ERROR_RATIO,
    ),
)
