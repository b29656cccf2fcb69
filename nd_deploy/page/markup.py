"""Pieces of HTML: sections, pictures that lie in the page itself, tables."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable, Sequence
from html import escape

from nd_deploy.page.picture import Picture


def section(heading: str, *parts: str, level: int = 2, name: str | None = None) -> str:
    """A part of a page: plain text as its heading, then HTML; `name` is what links lead to."""
    anchor = "" if name is None else f' id="{escape(name)}"'
    title = f"<h{level}>{escape(heading)}</h{level}>"
    return "\n".join([f"<section{anchor}>", title, *filter(None, parts), "</section>"])


def paragraph(text: str) -> str:
    """Plain text as a paragraph."""
    return f"<p>{escape(text)}</p>"


def bullets(items: Iterable[str], kind: str = "") -> str:
    """A list of plain texts, of a class of the style sheet; nothing for no items."""
    lines = "\n".join(f"<li>{escape(item)}</li>" for item in items)
    chosen = f' class="{escape(kind)}"' if kind else ""
    return f"<ul{chosen}>\n{lines}\n</ul>" if lines else ""


def details(summary: str, *parts: str) -> str:
    """HTML that is shown when a reader asks for it by its summary, a plain text."""
    return "\n".join(["<details>", f"<summary>{escape(summary)}</summary>", *parts, "</details>"])


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """What there is to know about something: names and values in plain text; "" for nothing."""
    lines = "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pairs)
    return f"<dl>\n{lines}\n</dl>" if lines else ""


def figure(
    picture: Picture, caption: str, wide: bool = True, more: str = "", kind: str = ""
) -> str:
    """A picture with its caption.

    Args:
        picture: what to show.
        caption: in plain text.
        wide: whether it scrolls on a screen that is too narrow for it, instead of shrinking.
        more: HTML below the caption.
        kind: a class of the style sheet.
    """
    pixels = struct.unpack(">II", picture.light[16:24])
    width, height = (round(count / picture.density) for count in pixels)
    scroll = ' class="wide" tabindex="0" role="region" aria-label="picture"' if wide else ""
    chosen = f' class="{escape(kind)}"' if kind else ""
    return (
        f"<figure{chosen}>\n<div{scroll}>\n<picture>\n"
        f'<source media="(prefers-color-scheme: dark)" srcset="{_data(picture.dark)}">\n'
        f'<img src="{_data(picture.light)}" alt="{escape(picture.alt)}" width="{width}" '
        f'height="{height}">\n</picture>\n</div>\n'
        f"<figcaption>{_captioned(caption, more)}</figcaption>\n</figure>"
    )


def _captioned(caption: str, more: str) -> str:
    return f"\n{paragraph(caption)}\n{more}\n" if more else escape(caption)


def _data(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def table(
    caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]], cards: bool = False
) -> str:
    """A table whose first column names the rows.

    Args:
        caption: in plain text, as everything else.
        columns: the headings; one that starts with ">" is of a column of numbers.
        rows: the cells.
        cards: on a narrow screen every row becomes a block with its headings, where the table
            would otherwise scroll.
    """
    kinds = [' class="number"' if column.startswith(">") else "" for column in columns]
    names = [column.removeprefix(">") for column in columns]
    labels = [f' data-label="{escape(name)}"' if cards else "" for name in names]
    head = "".join(
        f'<th scope="col"{kind}>{escape(name)}</th>'
        for name, kind in zip(names, kinds, strict=True)
    )
    ends = [f"{kind}{label}" for kind, label in zip(kinds, labels, strict=True)][1:]
    body = "\n".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td{end}>{escape(cell)}</td>" for cell, end in zip(row[1:], ends, strict=True))
        + "</tr>"
        for row in rows
    )
    chosen = ' class="cards"' if cards else ""
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}">\n'
        f"<table{chosen}>\n"
        f"<caption>{escape(caption)}</caption>\n<thead>\n<tr>{head}</tr>\n</thead>\n"
        f"<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )
