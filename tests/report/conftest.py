"""Pages whose charts need no drawing."""

import base64

import pytest

from nd_deploy.page.picture import Picture
from nd_deploy.report.page import comparison, layers, roofline, surroundings

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)


@pytest.fixture
def undrawn(monkeypatch):
    """A page is made of blank pictures, which keep what they say to those who do not see them."""
    for module in (comparison, layers, roofline, surroundings):
        monkeypatch.setattr(
            module, "draw_both", lambda chart, alt, density: Picture(PNG, PNG, alt, density)
        )
