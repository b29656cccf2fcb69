"""From bytes to a model's input: what is taken, what is refused, and that nothing else happens."""

import io
import struct
import zlib

import image_service as served
import numpy as np
import pytest
from PIL import Image

from nd_deploy.preprocess import Preprocessing, load_image
from nd_deploy.serve.images.decoding import decode_image
from nd_deploy.serve.refusal import Refusal

EXACT = Preprocessing("RGB", (8, 12), resize="nearest", scale=1.0)
MANY = 10**6


def pixels(data, preprocessing=EXACT, max_pixels=MANY):
    values = decode_image(data, preprocessing, max_pixels)
    assert values.dtype == np.float32
    return values[0].transpose(1, 2, 0)


def refusal(data, preprocessing=EXACT, max_pixels=MANY):
    with pytest.raises(Refusal) as caught:
        decode_image(data, preprocessing, max_pixels)
    return caught.value


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width, height, *chunks):
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + b"".join(chunks)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True}), ("JPEG", {"quality": 100})],
)
def test_each_of_the_four_formats_is_taken(kind, options, tmp_path):
    data = served.encoded(served.picture(), kind, **options)
    shown = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(pixels(data), shown)
    (tmp_path / "image").write_bytes(data)
    np.testing.assert_array_equal(
        decode_image(data, served.PLAIN, MANY), load_image(tmp_path / "image", served.PLAIN)
    )


def test_the_orientation_in_the_exif_data_is_applied():
    image = served.picture((8, 12))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees to view
    shown = image.transpose(Image.Transpose.ROTATE_270)
    np.testing.assert_array_equal(pixels(served.encoded(image, exif=exif)), np.asarray(shown))


def test_cmyk_and_grey_are_converted():
    cmyk = served.encoded(served.picture(mode="CMYK"), "JPEG", quality=100)
    shown = Image.open(io.BytesIO(cmyk)).convert("RGB")
    np.testing.assert_array_equal(pixels(cmyk), np.asarray(shown))
    assert np.abs(pixels(cmyk) - np.asarray(served.picture())).max() < 40
    grey = served.picture(mode="L")
    np.testing.assert_array_equal(pixels(served.encoded(grey))[:, :, 1], np.asarray(grey))


def test_16_bits_are_scaled_and_not_clipped():
    values = np.arange(96).reshape(8, 12) * 257
    found = pixels(served.encoded(Image.fromarray(values.astype(np.uint16))))
    np.testing.assert_array_equal(found[:, :, 0], np.arange(96).reshape(8, 12))


def test_transparency_becomes_white():
    clear = served.encoded(Image.new("RGBA", (12, 8), (9, 9, 9, 0)))
    assert (pixels(clear) == 255).all()


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_taken(kind):
    first, second = served.picture(seed=1), served.picture(seed=2)
    data = served.encoded(first, kind, save_all=True, append_images=[second], lossless=True)
    assert Image.open(io.BytesIO(data)).n_frames == 2
    np.testing.assert_array_equal(pixels(data), np.asarray(first))


def test_of_several_photographs_in_one_file_the_first_is_taken():
    first, second = served.picture(seed=1), served.picture(seed=2)
    data = served.encoded(first, "MPO", save_all=True, append_images=[second], quality=100)
    shown = Image.open(io.BytesIO(served.encoded(first, "JPEG", quality=100)))
    np.testing.assert_array_equal(pixels(data), np.asarray(shown))


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "ICO", "PPM", "PDF"])
def test_other_formats_are_refused_by_their_contents(kind):
    found = refusal(served.encoded(served.picture(), kind))
    assert found.status == 400
    assert "no JPEG, PNG, WebP or BMP" in found.message


@pytest.mark.parametrize(
    "data", [b"", b"text", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"RIFF1234WEBPVP8 "]
)
def test_what_is_no_image_is_refused(data):
    assert refusal(data).status == 400


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "JPEG"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_image_is_refused(kind, share):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    data = served.encoded(Image.fromarray(noise), kind)
    found = refusal(data[: int(share * len(data))])
    assert found.status == 400
    assert "damaged" in found.message


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "JPEG"])
def test_too_many_pixels_are_refused_and_as_many_as_are_allowed_taken(kind):
    data = served.encoded(served.picture((12, 8)), kind)
    assert decode_image(data, EXACT, 96).shape == (1, 3, 8, 12)
    found = refusal(data, max_pixels=95)
    assert found.status == 413
    assert "95 pixels" in found.message


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [1_001, 12_000, 60_000])
def test_a_decompression_bomb_is_refused_by_its_header(side, monkeypatch):
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", None)
    assert refusal(png_of(side, side, png_chunk(b"IDAT", zlib.compress(b"")))).status == 413


def test_an_image_that_a_crop_would_blow_up_is_refused(monkeypatch):
    cropped = Preprocessing("RGB", (224, 224), crop="center")
    narrow = served.encoded(Image.new("RGB", (65_500, 1)), "JPEG")
    found = refusal(narrow, cropped)
    assert found.status == 400
    assert "sides are too unequal" in found.message
    panorama = served.encoded(Image.new("RGB", (1_000, 100)), "JPEG")
    assert decode_image(panorama, cropped, 10**5).shape == (1, 3, 224, 224)


def test_a_progressive_jpeg_of_many_scans_is_refused():
    data = served.encoded(served.picture(), "JPEG", progressive=True)
    last = data[data.rfind(b"\xff\xda") : -2]
    assert pixels(data[:-2] + 20 * last + data[-2:]).shape == (8, 12, 3)
    found = refusal(data[:-2] + 100 * last + data[-2:])
    assert (found.status, found.reason) == (400, "image structure")


def test_scans_are_counted_in_the_image_alone():
    """Photographs carry previews in front of the image, and videos behind it."""
    data = served.encoded(served.picture(), "JPEG")
    scans = 100 * b"\xff\xda\x00\x02"
    preview = b"\xff\xe1" + struct.pack(">H", 2 + len(scans)) + scans
    assert pixels(data[:2] + preview + data[2:] + scans).shape == (8, 12, 3)


def test_an_image_of_very_many_parts_is_refused():
    jpeg = served.encoded(served.picture(), "JPEG")
    comments = 3_000 * b"\xff\xfe\x00\x02"
    png = served.encoded(served.picture())
    chunks = 30_000 * png_chunk(b"heLo", b"")
    for data in (jpeg[:2] + comments + jpeg[2:], png[:33] + chunks + png[33:]):
        assert refusal(data).reason == "image structure"


def test_a_run_length_encoded_bmp_is_refused():
    header = struct.pack("<IiiHHIIiiII", 40, 4, 1, 1, 8, 1, 6, 0, 0, 2, 0)
    palette, runs = bytes(8), b"\x04\x01\x00\x00\x00\x01"
    offset = 14 + len(header) + len(palette)
    data = b"BM" + struct.pack("<IHHI", offset + len(runs), 0, 0, offset) + header + palette + runs
    with Image.open(io.BytesIO(data)) as image:
        assert np.asarray(image).shape == (1, 4)
    assert "run-length" in refusal(data).message


def test_want_of_memory_is_no_fault_of_the_image(monkeypatch):
    def fail(*_):
        raise MemoryError

    data = served.encoded(served.picture())
    monkeypatch.setattr("PIL.Image.Image.resize", fail)
    found = refusal(data)
    assert (found.status, found.retry_after) == (503, 1)


def test_no_refusal_tells_of_the_inside():
    for data in (b"text", served.encoded(served.picture())[:60]):
        message = refusal(data).message
        assert "/" not in message
        assert "Error" not in message
