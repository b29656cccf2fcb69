"""A look at pages through a real browser, without a driver.

A harness page holds every page in frames of several widths, measures them once all are loaded and
writes what it found into its own document, which the browser prints.
"""

import html
import json
import re
import shutil
import subprocess

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = f"no browser is on the PATH: none of {', '.join(NAMES)}"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # As on a telephone, where they lie over the page.
    "--hide-scrollbars",
    "--enable-logging=stderr",
)
# 0 is dark and 1 light in Chromium's own settings.
SCHEMES = {"dark": 0, "light": 1}
PHONE, DESKTOP = 390, 1280

_SCRIPT = """
function channels(text) {
  const found = text.match(/[\\d.]+/g).map(Number);
  return {rgb: found.slice(0, 3), opaque: found.length < 4 || found[3] === 1};
}
function luminance(rgb) {
  const [r, g, b] = rgb.map(v => v / 255).map(
    v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function behind(element, view) {
  for (let at = element; at; at = at.parentElement) {
    const colour = channels(view.getComputedStyle(at).backgroundColor);
    if (colour.opaque) return colour.rgb;
  }
  return [255, 255, 255];
}
function texts(page, view) {
  const walker = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT), found = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (!node.data.trim()) continue;
    const element = node.parentElement, style = view.getComputedStyle(element);
    const [low, high] = [luminance(channels(style.color).rgb), luminance(behind(element, view))]
      .sort((a, b) => a - b);
    found.push({text: node.data.trim().slice(0, 40), size: parseFloat(style.fontSize),
      contrast: (high + 0.05) / (low + 0.05)});
  }
  return found;
}
function measure(frame) {
  const page = frame.contentDocument, view = frame.contentWindow;
  page.querySelectorAll('details').forEach(each => { each.open = true; });
  const seen = texts(page, view), root = page.documentElement;
  return {
    page: frame.dataset.page, width: frame.width,
    viewport: root.clientWidth, content: root.scrollWidth,
    background: channels(view.getComputedStyle(page.body).backgroundColor).rgb,
    colour: channels(view.getComputedStyle(page.body).color).rgb,
    images: [...page.images].map(image => ({
      loaded: image.complete && image.naturalWidth > 0,
      dark: image.currentSrc === image.parentElement.querySelector('source').srcset,
      shown: image.getBoundingClientRect().width, drawn: Number(image.getAttribute('width')),
      scrolls: image.closest('.wide') !== null})),
    faintest: seen.reduce((a, b) => a.contrast < b.contrast ? a : b),
    smallest: seen.reduce((a, b) => a.size < b.size ? a : b),
  };
}
window.addEventListener('load', () => {
  const facts = [...document.querySelectorAll('iframe')].map(measure);
  document.querySelector('#facts').textContent = JSON.stringify(facts);
});
"""


def find():
    """The browser, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def look(pages, scheme, folder):
    """Show pages in frames as wide as a telephone and as a desktop's window.

    Args:
        pages: HTML by name.
        scheme: "light" or "dark".
        folder: an empty one, for the harness and the browser's profile.

    Returns:
        (facts by page and width, what the browser said on its console).
    """
    frames = "\n".join(
        f'<iframe data-page="{name}" width="{width}" height="900" srcdoc="{html.escape(text)}">'
        "</iframe>"
        for name, text in pages.items()
        for width in (PHONE, DESKTOP)
    )
    harness = folder / "harness.html"
    # A frame takes the harness for what its reader prefers.
    harness.write_text(
        '<!DOCTYPE html><meta charset="utf-8">'
        "<style>:root { color-scheme: light dark; } iframe { border: 0; }</style>"
        f'{frames}<pre id="facts"></pre><script>{_SCRIPT}</script>',
        encoding="utf-8",
    )
    done = subprocess.run(
        [
            find(),
            *FLAGS,
            f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
            f"--user-data-dir={folder / 'profile'}",
            "--dump-dom",
            harness.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    (written,) = re.findall(r'<pre id="facts">(.*?)</pre>', done.stdout, re.DOTALL)
    facts = json.loads(html.unescape(written))
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return {(fact["page"], int(fact["width"])): fact for fact in facts}, console


def check_readable(fact, scheme):
    """That a page is well to be read where it was shown."""
    assert fact["viewport"] == int(fact["width"])
    assert fact["content"] <= fact["viewport"]
    assert fact["faintest"]["contrast"] >= 4.5, fact["faintest"]
    assert fact["smallest"]["size"] >= 12, fact["smallest"]
    assert (sum(fact["background"]) < sum(fact["colour"])) == (scheme == "dark")
    for image in fact["images"]:
        assert image["loaded"]
        assert image["dark"] == (scheme == "dark")
        assert image["scrolls"] or image["shown"] <= fact["viewport"]
