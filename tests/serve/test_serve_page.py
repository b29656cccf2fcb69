"""The page's files, before any browser has them."""

import re

import pytest
from html_page import Page

from nd_deploy.serve.page.files import static_files
from nd_deploy.serve.page.routes import HEADERS, POLICY, page_handlers


def texts():
    return {path: content.decode() for path, (_, content) in static_files().items()}


def test_every_file_has_a_type_that_browsers_take_without_guessing():
    types = {path: content_type for path, (content_type, _) in static_files().items()}
    assert types["/"] == "text/html; charset=utf-8"
    assert types["/page/page.css"] == "text/css; charset=utf-8"
    assert types["/page/page.js"] == "text/javascript; charset=utf-8"
    assert types["/page/icon.svg"] == "image/svg+xml"
    assert all(path == "/" or path.startswith("/page/") for path in types)


def test_what_the_page_names_is_there():
    page = Page(texts()["/"])
    named = [each["href"] for each in page.all("link")]
    named += [each["src"] for each in page.all("script")]
    for text in texts().values():
        named += [f"page/{name}" for name in re.findall(r'from "\./(.*)"', text)]
    assert {f"/{name}" for name in named} | {"/"} == set(static_files())


def test_nothing_is_inline_and_nothing_foreign():
    for path, text in texts().items():
        without_names = text.replace("http://www.w3.org/2000/svg", "")
        assert "//" not in re.sub(r"^\s*// .*$", "", without_names, flags=re.MULTILINE), path
    page = Page(texts()["/"])
    assert "style" not in {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        assert not {name for name in attributes if name == "style" or name.startswith("on")}
    assert all(script.get("src") for script in page.all("script"))


def test_nothing_makes_html_or_code_out_of_text():
    scripts = "".join(text for path, text in texts().items() if path.endswith(".js"))
    for way in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Storage",
    ):
        assert way not in scripts


def test_every_control_has_a_name():
    page = Page(texts()["/"])
    for_ids = {label.get("for") for label in page.all("label")}
    for control in page.all("input") + page.all("select"):
        wrapped = re.search(rf'<label>\w+ <select id="{control["id"]}"', texts()["/"])
        assert control.get("aria-label") or control["id"] in for_ids or wrapped


@pytest.mark.parametrize(
    ("directive", "sources"),
    [
        ("default-src", "'none'"),
        ("script-src", "'self'"),
        ("style-src", "'self'"),
        ("img-src", "'self' blob: data:"),
        ("connect-src", "'self'"),
        ("base-uri", "'none'"),
        ("form-action", "'none'"),
        ("frame-ancestors", "'none'"),
    ],
)
def test_the_policy_allows_this_and_no_more(directive, sources):
    policy = dict(each.split(" ", 1) for each in POLICY.split("; "))
    assert policy[directive] == sources
    assert len(policy) == 8


def test_the_headers_go_with_every_file():
    import asyncio

    for path, handle in page_handlers().items():
        response = asyncio.run(handle(None))
        content_type, content = static_files()[path]
        assert response.body == content
        assert response.headers["content-type"] == content_type
        for name, value in HEADERS.items():
            assert response.headers[name] == value
    assert HEADERS["X-Content-Type-Options"] == "nosniff"
