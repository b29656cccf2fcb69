import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from whitened import fading, inverse_root

from nd_deploy.explain.charts import spectrum_chart
from nd_deploy.explain.explanation import Explanation
from nd_deploy.explain.image_kernels import METHODS, ImageKernels, ImageRecord, Settings
from nd_deploy.explain.kernel_charts import kernel_chart
from nd_deploy.explain.kernels import FirstConvolution, central_kernels
from nd_deploy.explain.pictures import draw
from nd_deploy.explain.record import Spectra
from nd_deploy.explain.spectrum import LayerSpectrum
from nd_deploy.page.canvas import LIGHT


def layers(count=3, **changes):
    return tuple(
        LayerSpectrum(f"layers.{i}.conv", "FastDeconv", np.linspace(1, 2 + i, 8)[None], 5)
        for i in range(count)
    )


def first(channels=3, size=3):
    rows = np.eye(channels * size**2) * 2 - 0.1
    return FirstConvolution("layers.0.conv", rows[None], channels, (size, size))


def image_kernels(channels=1, size=5):
    plane = np.kron(fading(size, 0.8), fading(size, 0.8))
    colours = np.eye(channels) + 0.5
    kernels = central_kernels(inverse_root(np.kron(colours, plane)), channels, size)
    scaled = {method: kernels / np.abs(kernels).max() for method in METHODS}
    spread = {method: np.full_like(kernels, 0.01) for method in METHODS}
    known = dict.fromkeys(METHODS, 9.0)
    record = ImageRecord("a.png", 900, known)
    settings = Settings(patch=size)
    return ImageKernels(
        settings, channels, (record, record), (), scaled, known, scaled, spread, known
    )


def pixels(png):
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def test_every_picture_decodes_in_both_themes():
    explanation = Explanation("net", Spectra(layers(), first()), image_kernels(3))
    pictures = draw(explanation)
    assert list(pictures) == ["spectrum.png", "kernels.png", "kernels_images.png"]
    for picture in pictures.values():
        light, dark = pixels(picture.light), pixels(picture.dark)
        assert light.shape == dark.shape
        assert min(light.shape[:2]) > 300
        # The corner is paper.
        assert light[0, 0].min() == 255
        assert dark[0, 0].max() < 64


def test_there_is_a_picture_only_of_what_is_known():
    assert list(draw(Explanation("net", Spectra(layers(), None), None))) == ["spectrum.png"]
    assert list(draw(Explanation(None, None, image_kernels()))) == ["kernels_images.png"]


def test_the_chart_grows_with_the_layers():
    few, many = (pixels(spectrum_chart(layers(count), LIGHT)) for count in (12, 40))
    assert many.shape[0] - few.shape[0] == pytest.approx(28 * 0.2 * 150, rel=0.01)
    assert many.shape[1] == few.shape[1]


def test_layers_that_are_odd_can_be_drawn():
    odd = (
        LayerSpectrum("unread", "ChannelDeconv", np.full((1, 4), np.nan), 5),
        LayerSpectrum("broken", "FastDeconv", np.array([[-1.0, 0.0, 2.0]]), None),
        LayerSpectrum("identity", "FastDeconv", np.ones((1, 4)), 5),
        LayerSpectrum("single", "FastDeconv", np.array([[0.7]] * 900), 1),
        LayerSpectrum("$x_{1}$ " * 20, "Delinear", np.array([[1e-9, 1e9]]), 5),
    )
    assert pixels(spectrum_chart(odd, LIGHT)).shape[1] == 1200
    alone = draw(Explanation("net", Spectra(odd[:1], None), None))["spectrum.png"]
    assert "none of which reads its D" in alone.alt


@pytest.mark.parametrize(
    ("channels", "kernel"),
    [(1, (1, 1)), (3, (7, 7)), (64, (3, 3)), (5, (1, 9)), (7, (3, 3)), (3, (2, 2))],
)
def test_kernels_of_any_shape_can_be_drawn(channels, kernel):
    deconv = np.eye(channels * kernel[0] * kernel[1])[None]
    found = FirstConvolution("conv", deconv, channels, kernel)
    assert pixels(kernel_chart(found, LIGHT)).size


def test_the_centre_is_red_and_its_surround_blue():
    deconv = np.full((9, 9), -0.3)
    np.fill_diagonal(deconv, 3.0)
    found = FirstConvolution("conv", deconv[None], 1, (3, 3))
    image = pixels(kernel_chart(found, LIGHT)).astype(int)
    # The kernel is the largest thing in the picture: below the title, left of the scale.
    inner = image[80:-20, 60:520]
    red = (inner[..., 0] > inner[..., 2] + 60).nonzero()
    blue = (inner[..., 2] > inner[..., 0] + 40).nonzero()
    centre = [np.mean([axis.min(), axis.max()]) for axis in blue]
    np.testing.assert_allclose([np.median(axis) for axis in red], centre, atol=15)
    share = len(red[0]) / (len(red[0]) + len(blue[0]))
    assert share == pytest.approx(1 / 9, abs=0.03)


def test_the_words_tell_the_numbers():
    pictures = draw(Explanation("net", Spectra(layers(3), first(1)), image_kernels()))
    assert "from 1 to 4" in pictures["spectrum.png"].alt
    assert "is 4, of the layer layers.2.conv" in pictures["spectrum.png"].alt
    assert "channel 0: 1.9 and -0.8" in pictures["kernels.png"].alt
    assert "from 2 images" in pictures["kernels_images.png"].alt


def test_drawing_leaves_pyplot_alone():
    program = (
        "import sys; sys.path.insert(0, 'tests/explain')\n"
        "from test_explain_pictures import *\n"
        "draw(Explanation('net', Spectra(layers(), first()), None))\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
