"""A page as a whole: its style sheet, its policy, and what a browser has to be told."""

from __future__ import annotations

from html import escape

from nd_deploy import __version__

GENERATOR = "nd-deploy"

_STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1a1a1a; --rule: #d9d9d9;
  --soft: #5a5a5a; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16181d; --ink: #e6e6e6; --rule: #3a3d45; --soft: #a8abb2; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 56rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { font-size: 1.25rem; margin-top: 2.5rem; }
figure { margin: 1rem 0; } figcaption, caption, footer { color: var(--soft); font-size: .9rem; }
.wide { overflow-x: auto; }
img { display: block; max-width: 100%; height: auto; }
.wide img { max-width: none; width: max(100%, 34rem); }
table { border-collapse: collapse; font-size: .9rem; overflow-wrap: normal; }
caption { text-align: left; padding-bottom: .4rem; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid var(--rule); text-align: left;
  vertical-align: top; }
td.number, th.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
footer { margin-top: 3rem; border-top: 1px solid var(--rule); padding-top: .5rem; }
"""
# Whatever a layer is called, the page runs nothing and fetches nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def document(title: str, body: str, footer: str, style: str = "") -> str:
    """Write a page.

    Args:
        title: in plain text.
        body: HTML.
        footer: what stands below it after the program's name and version, in plain text.
        style: rules of its own, which come after those of every page.

    Returns:
        HTML.
    """
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="generator" content="{GENERATOR}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}{style}</style>\n</head>\n<body>\n<main>\n"
        f"{body}\n</main>\n<footer>\n<p>Made by nd-deploy {escape(__version__)}. "
        f"{escape(footer)}</p>\n</footer>\n</body>\n</html>\n"
    )
