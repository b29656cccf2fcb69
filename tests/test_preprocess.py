import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from nd_deploy.errors import InputError, MissingDependencyError
from nd_deploy.preprocess import Preprocessing, default_preprocessing, image_to_input, load_image

GREY = Preprocessing("L", (2, 2))
COLOUR = Preprocessing("RGB", (2, 2))


@pytest.fixture
def saved(tmp_path):
    """Save an image and give its path."""

    def save(image, name="image.png", **options):
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return save


def bytes_of(values, preprocessing):
    """The 0 to 255 that a result stands for."""
    return np.rint(values / np.float32(preprocessing.scale)).astype(int)


def test_pixels_become_nchw_from_0_to_1(saved):
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20
    values = load_image(saved(Image.fromarray(pixels)), COLOUR)
    assert values.shape == (1, 3, 2, 2)
    assert values.dtype == np.float32
    assert values.flags.c_contiguous
    np.testing.assert_allclose(values[0], pixels.transpose(2, 0, 1) / 255, rtol=1e-6)


def test_mean_and_std_come_after_the_scale(saved):
    pixels = np.full((2, 2, 3), 100, np.uint8)
    preprocessing = Preprocessing(
        "RGB", (2, 2), scale=0.01, mean=(0.5, 0.25, 0.0), std=(1.0, 0.5, 2.0)
    )
    values = load_image(saved(Image.fromarray(pixels)), preprocessing)
    np.testing.assert_allclose(values[0, :, 0, 0], [0.5, 1.5, 0.5], rtol=1e-6)


def test_an_image_is_stretched_without_a_crop(saved):
    pixels = np.repeat(np.array([[0, 255]], np.uint8), [1, 3], axis=1)
    path = saved(Image.fromarray(pixels))
    values = load_image(path, Preprocessing("L", (1, 4), resize="nearest"))
    np.testing.assert_array_equal(bytes_of(values, GREY).ravel(), [0, 255, 255, 255])


def test_a_center_crop_keeps_proportions_and_takes_the_middle(saved):
    pixels = np.repeat(np.array([[10, 20, 30, 40]], np.uint8), 2, axis=0)
    path = saved(Image.fromarray(pixels))
    values = load_image(path, Preprocessing("L", (2, 2), crop="center", resize="nearest"))
    np.testing.assert_array_equal(bytes_of(values, GREY).ravel(), [20, 30, 20, 30])


@pytest.mark.parametrize("size", [(500, 333), (333, 500), (3, 700), (224, 224)])
def test_the_crop_fraction_sets_the_size_before_the_crop(saved, size):
    """ImageNet's way: the shorter side to 256, then the 224 in the middle."""
    ramp = np.linspace(0, 255, size[0] * size[1]).reshape(size[1], size[0])
    image = Image.fromarray(ramp.astype(np.uint8))
    short = min(size)
    wide, high = (int(256 * side / short) for side in size)
    left, top = round((wide - 224) / 2), round((high - 224) / 2)
    resized = image.resize((wide, high), Image.Resampling.BILINEAR)
    expected = np.asarray(resized.crop((left, top, left + 224, top + 224)))
    preprocessing = Preprocessing("L", (224, 224), crop="center", crop_fraction=0.875)
    values = load_image(saved(image), preprocessing)
    np.testing.assert_array_equal(bytes_of(values, preprocessing)[0, 0], expected)


def test_the_orientation_in_the_exif_data_is_applied(saved):
    pixels = np.array([[0, 255], [0, 255]], np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees to view
    path = saved(Image.fromarray(pixels), exif=exif)
    np.testing.assert_array_equal(bytes_of(load_image(path, GREY), GREY)[0, 0], [[0, 0], [255] * 2])


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_16_bits_are_scaled_and_not_clipped(saved, dtype):
    values = np.array([[0, 257], [128 * 257, 65535]])
    suffix = "png" if dtype is np.uint16 else "tiff"
    path = saved(Image.fromarray(values.astype(dtype)), f"image.{suffix}")
    np.testing.assert_array_equal(bytes_of(load_image(path, GREY), GREY).ravel(), [0, 1, 128, 255])


@pytest.mark.parametrize("values", [np.ones((2, 2), np.float32), np.full((2, 2), 1 << 20)])
def test_pixels_without_a_known_range_are_refused(saved, values):
    path = saved(
        Image.fromarray(values.astype(np.float32 if values.max() == 1 else np.int32)), "image.tiff"
    )
    with pytest.raises(InputError, match="no known range"):
        load_image(path, GREY)


def test_transparency_becomes_white(saved):
    image = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    for mode in ("RGBA", "LA"):
        path = saved(image.convert(mode), f"{mode}.png")
        assert (bytes_of(load_image(path, COLOUR), COLOUR) == 255).all()
    palette = Image.new("P", (2, 2), 0)
    palette.putpalette([1, 2, 3])
    path = saved(palette, "palette.png", transparency=0)
    assert (bytes_of(load_image(path, COLOUR), COLOUR) == 255).all()


def test_a_palette_becomes_its_colours(saved):
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    values = load_image(saved(image), COLOUR)
    np.testing.assert_array_equal(bytes_of(values, COLOUR)[0, :, 0, 0], [10, 20, 30])


def test_cmyk_and_bilevel_images_are_converted(saved):
    cmyk = saved(Image.new("CMYK", (2, 2), (0, 0, 0, 0)), "cmyk.tiff")
    assert (bytes_of(load_image(cmyk, COLOUR), COLOUR) == 255).all()
    bilevel = saved(Image.new("1", (2, 2), 1))
    assert (bytes_of(load_image(bilevel, GREY), GREY) == 255).all()


def test_colour_becomes_grey_and_grey_colour(saved):
    path = saved(Image.new("RGB", (2, 2), (50, 50, 50)))
    assert (bytes_of(load_image(path, GREY), GREY) == 50).all()
    path = saved(Image.new("L", (2, 2), 50))
    assert load_image(path, COLOUR).shape == (1, 3, 2, 2)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(InputError, match=r"no file .*none\.png"):
        load_image(tmp_path / "none.png", GREY)
    with pytest.raises(InputError, match="is a folder"):
        load_image(tmp_path, GREY)


@pytest.mark.parametrize(
    "content", [b"", b"text", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff"]
)
def test_a_file_that_is_no_image_is_named(tmp_path, content):
    (tmp_path / "image.png").write_bytes(content)
    with pytest.raises(InputError, match=r"image\.png is no image") as caught:
        load_image(tmp_path / "image.png", GREY)
    assert "image viewer" in caught.value.remedy


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "tiff", "webp"])
def test_a_truncated_image_is_named(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind)
    path = tmp_path / f"image.{kind}"
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    with pytest.raises(InputError, match="damaged"):
        load_image(path, GREY)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [9_500, 30_000])
def test_a_decompression_bomb_is_not_decoded(tmp_path, side):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    (tmp_path / "bomb.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))
    )
    with pytest.raises(InputError, match=r"bomb\.png: .* million pixels"):
        load_image(tmp_path / "bomb.png", GREY)


def test_an_image_that_a_crop_would_blow_up_is_refused(saved):
    narrow = saved(Image.new("L", (65_000, 1)))
    with pytest.raises(InputError, match=r"image\.png: its sides are too unequal"):
        load_image(narrow, Preprocessing("L", (224, 224), crop="center"))
    assert load_image(narrow, Preprocessing("L", (224, 224))).shape == (1, 1, 224, 224)


def test_an_open_image_is_read_like_its_file(saved):
    path = saved(Image.new("RGB", (7, 5), (10, 20, 30)))
    with Image.open(path) as image:
        values = image_to_input(image, COLOUR, 35)
    np.testing.assert_array_equal(values, load_image(path, COLOUR))
    with Image.open(path) as image, pytest.raises(InputError, match="more than 0 million pixels"):
        image_to_input(image, COLOUR, 34)


def test_without_pillow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL.Image", None)
    with pytest.raises(MissingDependencyError) as caught:
        load_image(tmp_path / "image.png", GREY)
    assert "nd-deploy[images]" in caught.value.remedy


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"mode": "CMYK"}, "mode"),
        ({"resize": "cubic"}, "bicubic"),
        ({"crop": "five"}, "center"),
        ({"crop_fraction": 0.0}, "crop_fraction"),
        ({"size": (0, 4)}, "size"),
        ({"mean": (0.5,)}, "1 values for 3 channels"),
        ({"std": (1.0, 1.0, 0.0)}, "over 0"),
        ({"std": (1.0, 1.0, float("nan"))}, "over 0"),
    ],
)
def test_impossible_preprocessing_is_refused(wrong, complaint):
    with pytest.raises(InputError, match=complaint):
        Preprocessing(**({"mode": "RGB", "size": (4, 4)} | wrong))


def test_preprocessing_survives_json():
    import json

    whole = Preprocessing("RGB", (4, 6), "bicubic", "center", 0.875, 1.0, (1, 2, 3), (4, 5, 6))
    for preprocessing in (whole, GREY):
        fields = json.loads(json.dumps(preprocessing.as_dict()))
        assert fields["layout"] == "NCHW"
        assert Preprocessing.from_dict(fields) == preprocessing


def test_the_default_follows_the_input():
    assert default_preprocessing((1, 8, 6)) == Preprocessing("L", (8, 6))
    assert default_preprocessing((3, 8, 6)) == Preprocessing("RGB", (8, 6))
    for shape in ((4, 8, 8), (3, "height", "width"), (3, 8), (1, 3, 8, 8), ("C", 8, 8)):
        assert default_preprocessing(shape) is None
