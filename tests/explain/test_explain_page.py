import base64
import io
import re

import numpy as np
import pytest
from html_page import Page
from PIL import Image
from test_explain_pictures import first, image_kernels, layers

from nd_deploy.explain.explanation import Explanation
from nd_deploy.explain.kernels import FirstConvolution
from nd_deploy.explain.page import page
from nd_deploy.explain.pictures import draw
from nd_deploy.explain.record import Spectra
from nd_deploy.explain.spectrum import LayerSpectrum
from nd_deploy.page.picture import Picture


def png(size=(20, 10)):
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, "PNG")
    return buffer.getvalue()


def blank(**alts):
    """Pictures that need no drawing."""
    names = ("spectrum.png", "kernels.png", "kernels_images.png")
    return {name: Picture(png(), png((20, 10)), alts.get("alt", name)) for name in names}


def whole():
    return Explanation("net", Spectra(layers(), first()), image_kernels(3))


@pytest.fixture(scope="module")
def pictures():
    return draw(whole())


def test_the_page_is_well_formed_and_has_one_heading_above_all_others():
    found = Page(page(whole(), blank()))
    assert found.elements[0] == ("html", {"lang": "en"})
    tags = [tag for tag, _ in found.elements]
    assert tags.count("h1") == tags.count("main") == tags.count("title") == 1
    assert tags.count("h2") == tags.count("section") == 3
    assert len(found.all("figure")) == len(found.all("figcaption")) == 3
    assert len(found.all("table")) == len(found.all("caption")) == 3


def test_the_page_needs_nothing_but_itself(pictures):
    text = page(whole(), pictures)
    found = Page(text)
    references = [
        value
        for _, attributes in found.elements
        for name, value in attributes.items()
        if name in ("src", "srcset", "href", "action", "data", "poster")
    ]
    assert len(references) == 6
    assert all(value.startswith("data:image/png;base64,") for value in references)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in found.elements}
    assert not re.search(r"https?:|url\(|@import", text)
    policy = next(m for m in found.all("meta") if m.get("http-equiv"))["content"]
    assert "default-src 'none'" in policy


def test_the_pictures_lie_in_the_page(pictures):
    found = Page(page(whole(), pictures))
    for image, dark, picture in zip(
        found.all("img"), found.all("source"), pictures.values(), strict=True
    ):
        data = base64.b64decode(image["src"].partition(",")[2])
        assert data == picture.light
        assert base64.b64decode(dark["srcset"].partition(",")[2]) == picture.dark
        assert dark["media"] == "(prefers-color-scheme: dark)"
        assert image["alt"] == picture.alt
        with Image.open(io.BytesIO(data)) as decoded:
            assert decoded.size == (int(image["width"]), int(image["height"]))


def test_the_page_fits_a_phone_and_a_dark_room():
    text = page(whole(), blank())
    viewport = next(m for m in Page(text).all("meta") if m.get("name") == "viewport")
    assert viewport["content"] == "width=device-width, initial-scale=1"
    assert "@media (prefers-color-scheme: dark)" in text


def test_a_layer_s_name_is_text_and_nothing_else():
    name = '<script>alert("x")</script>&amp;'
    hostile = Spectra(
        (LayerSpectrum(name, name, np.ones((1, 2)), None),),
        FirstConvolution(name, np.eye(9)[None], 1, (3, 3)),
    )
    text = page(Explanation(name, hostile, None), blank(alt=name))
    found = Page(text)
    assert not found.all("script")
    assert found.text.count(name) == 5
    assert found.all("img")[0]["alt"] == name


def test_every_layer_is_in_the_table_with_its_numbers():
    text = Page(page(Explanation("net", Spectra(layers(3), None), None), blank())).text
    assert "layers.2.conv FastDeconv 1 x 8 1 2.5 4 4 5 7.59" in text
    assert "has no ND convolution" in text


def test_what_is_never_read_has_no_numbers():
    unread = LayerSpectrum("norm", "ChannelDeconv", np.full((1, 4), np.nan), None)
    text = Page(page(Explanation("net", Spectra((unread,), None), None), blank())).text
    assert "norm ChannelDeconv 1 x 4 D is never read" in text


def test_the_sums_of_kernels_are_told():
    explanation = Explanation("net", Spectra(layers(1), first(1)), None)
    assert "0 1.9 -0.8 0 1.1" in Page(page(explanation, blank())).text


def test_images_without_a_network_have_a_page_too():
    found = Page(page(Explanation(None, None, image_kernels()), blank()))
    assert found.text.startswith("What D does")
    assert [tag for tag, _ in found.elements].count("section") == 1
    assert "5 x 5 patches of 2 images, in brightness" in found.text


def test_notes_are_on_the_page():
    explanation = Explanation(None, None, image_kernels(3, 21), 40)
    assert "2 of the folder's 40 images were drawn, with seed 0" in explanation.notes()[0]
    few = "2 of the images have no more patches than a patch has entries (1323)"
    text = Page(page(explanation, blank())).text
    assert few in text
    assert "2 of the folder's 40 images" in text
