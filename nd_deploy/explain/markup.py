"""Pieces of HTML: sections, pictures that lie in the page itself, tables."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable, Sequence
from html import escape

from nd_deploy.explain.pictures import Picture


def section(heading: str, *parts: str) -> str:
    """A part of a page: plain text as its heading, then HTML."""
    return "\n".join(["<section>", f"<h2>{escape(heading)}</h2>", *parts, "</section>"])


def figure(picture: Picture, caption: str, wide: bool = True) -> str:
    """A picture with its caption; a wide one scrolls on a screen that is too narrow for it."""
    width, height = struct.unpack(">II", picture.light[16:24])
    scroll = ' class="wide" tabindex="0" role="region" aria-label="picture"' if wide else ""
    return (
        f"<figure>\n<div{scroll}>\n<picture>\n"
        f'<source media="(prefers-color-scheme: dark)" srcset="{_data(picture.dark)}">\n'
        f'<img src="{_data(picture.light)}" alt="{escape(picture.alt)}" width="{width}" '
        f'height="{height}">\n</picture>\n</div>\n<figcaption>{escape(caption)}</figcaption>\n'
        "</figure>"
    )


def _data(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column names the rows; columns that start with ">" hold numbers."""
    kinds = [' class="number"' if column.startswith(">") else "" for column in columns]
    head = "".join(
        f'<th scope="col"{kind}>{escape(column.removeprefix(">"))}</th>'
        for column, kind in zip(columns, kinds, strict=True)
    )
    body = "\n".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(
            f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(row[1:], kinds[1:], strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}">\n<table>\n'
        f"<caption>{escape(caption)}</caption>\n<thead>\n<tr>{head}</tr>\n</thead>\n"
        f"<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )
