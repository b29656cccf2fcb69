"""The rows of each part as tables in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gpu.parts import Part, Row

Column = tuple[str, Callable[[Row], str]]


def details(part: Part) -> str:
    """A part's rows as tables; "" for a part without."""
    tables = []
    for pick, columns in _TABLES.get(part.name, ()):
        rows = [row for row in part.rows if pick(row)]
        if rows:
            cells = [[show(row) for _, show in columns] for row in rows]
            tables.append(table([title for title, _ in columns], cells))
    return "\n\n".join(tables)


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def text(key: str) -> Column:
    """A column of text; lists are joined."""

    def show(row: Row) -> str:
        value = row.get(key, "")
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    return key, show


def number(key: str, form: str = ".1f", title: str | None = None) -> Column:
    """A column of numbers; empty where a row has none, text where it is no finite number."""

    def show(row: Row) -> str:
        value = row.get(key)
        return "" if value is None else value if isinstance(value, str) else format(value, form)

    return title or key, show


def _us(name: str) -> Column:
    return number(f"{name} us", title=name)


def _is(key: str, value: object) -> Callable[[Row], bool]:
    return lambda row: row.get(key) == value


def _any(row: Row) -> bool:
    return True


_GIGABYTES: Column = ("GB/s", lambda row: f"{row['bytes_per_s'] / 1e9:.0f}")
_SKIPPED: Column = (
    "skipped",
    lambda row: "; ".join(f"{n} x {t}" for t, n in row.get("skipped", {}).items()),
)
_OUTCOME = (text("status"), text("reason"))
_OF_TESTS = (text("what"), number("passed", "d"), text("failed"), _SKIPPED)

TITLES = {
    "device": "What the machine has",
    "launchers": "The kernels, built by nvcc alone",
    "plugin": "The plugin library",
    "tests": "Tests that need a GPU",
    "sanitizer": "Under compute-sanitizer",
    "errors": "Errors against PyTorch in float64",
    "rtx": "TensorRT-RTX on this GPU",
    "engines": "Every kind of ND layer in every runtime",
    "bundles": "Bundles verified by every runtime",
    "frozen": "The frozen ChannelDeconv, blocks of 64, in CUDA graphs",
    "dynamic": "Layers that whiten by the statistics of the batch",
    "hosts": "One frozen ChannelDeconv of a chain, in the runtimes",
}
_TABLES: Mapping[str, Sequence[tuple[Callable[[Row], bool], Sequence[Column]]]] = {
    "device": [(_any, [text("what"), text("is")])],
    "launchers": [(_any, [text("what"), text("built for")])],
    "plugin": [
        (
            _any,
            [*map(text, ("what", "sha256", "headers", "nvcc", "plugins", "taken by")), *_OUTCOME],
        )
    ],
    "tests": [(_any, [*_OF_TESTS, *_OUTCOME])],
    "sanitizer": [(_any, [*_OF_TESTS, text("sanitizer"), *_OUTCOME])],
    "errors": [
        (
            _any,
            [
                *map(text, ("op", "case", "dtype")),
                *(number(key, ".1e") for key in ("error", "pytorch", "rms", "pytorch rms")),
                *_OUTCOME,
            ],
        )
    ],
    "rtx": [(_any, [*map(text, ("GPU", "TensorRT-RTX", "lists it", "runs on it", "says"))])],
    "engines": [
        (
            _any,
            [
                *map(text, ("kind", "runtime", "dtype", "nodes")),
                *(*_OUTCOME, number("error", ".1e")),
            ],
        )
    ],
    "bundles": [
        (
            _any,
            [
                *(text("bundle"), text("runtime"), *_OUTCOME),
                *(number("error", ".1e"), number("budget", ".1e")),
            ],
        )
    ],
    "frozen": [
        (_is("what", "copy"), [text("what"), _GIGABYTES]),
        (
            _is("what", "whitening"),
            [
                *map(text, ("channels", "size", "batch", "dtype")),
                *map(_us, ("plugin", "roofline", "conv", "conv nhwc", "conv tf32", "body")),
                number("share of copy", ".0%"),
                number("faster than conv", ".2f"),
                number("faster than body", ".2f"),
                text("reason"),
            ],
        ),
    ],
    "dynamic": [
        (
            _any,
            [
                *map(text, ("op", "layer", "layers", "batch", "dtype")),
                *map(_us, ("plugin", "roofline tf32", "roofline fp32", "body")),
                *map(_us, ("plugin launched", "eager")),
                number("faster than eager", ".1f"),
                number("over roofline tf32", ".1f"),
                number("over roofline fp32", ".1f"),
                text("reason"),
            ],
        )
    ],
    "hosts": [
        (
            _any,
            [
                *map(text, ("channels", "size", "batch", "dtype", "way")),
                *(number("us"), *_OUTCOME),
            ],
        )
    ],
}
