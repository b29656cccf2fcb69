"""Handlers of the page's files, and what a browser is told about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from nd_deploy.serve.page.files import static_files

if TYPE_CHECKING:
    from starlette.requests import Request

    from nd_deploy.serve.http.handlers import Handler

# Whatever a model or a class is called, the page runs nothing but its own files, and speaks with
# nobody but its own server. A dropped image is shown from a blob: URL.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Another version of the server may be behind the same address tomorrow.
    "Cache-Control": "no-cache",
}


def page_handlers() -> dict[str, Handler]:
    """The handler of GET requests for each of the page's files, by path.

    None of them needs a token: a browser that opens an address has no way to show one.
    """
    return {path: _handler(*file) for path, file in static_files().items()}


def _handler(content_type: str, content: bytes) -> Handler:
    headers = {**HEADERS, "Content-Type": content_type}

    async def handle(request: Request) -> Response:
        return Response(content, headers=headers)

    return handle
