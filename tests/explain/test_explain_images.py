import re

import numpy as np
import pytest
from PIL import Image

from nd_deploy.errors import InputError
from nd_deploy.explain.images import find_images, is_grey, read_pixels


@pytest.fixture
def save(tmp_path):
    def write(name, size=(6, 4), colour=(255, 0, 51), **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = "RGB" if isinstance(colour, tuple) else "L"
        Image.new(mode, size, colour).save(path, **options)
        return path

    return write


def test_images_of_every_format_are_found_in_folders_too(save, tmp_path):
    names = ["a.PNG", "b/c.jpg", "b/d.jpeg", "e.webp", "f.bmp"]
    for name in names:
        save(name)
    (tmp_path / "notes.txt").write_text("no image")
    save(".hidden.png")
    save(".thumbnails/g.png")
    found = find_images(tmp_path, 100, 0)
    assert [file.name for file in found.files] == names
    assert found.total == 5


def test_of_too_many_as_many_are_drawn_by_the_seed(save, tmp_path):
    for index in range(20):
        save(f"{index:02}.png")
    found = find_images(tmp_path, 5, 1)
    names = [file.name for file in found.files]
    assert (len(set(names)), found.total) == (5, 20)
    assert names == sorted(names)
    assert names == [file.name for file in find_images(tmp_path, 5, 1).files]
    assert names != [file.name for file in find_images(tmp_path, 5, 2).files]


def test_pixels_keep_their_size_and_run_from_0_to_1(save, tmp_path):
    save("a.png")
    (file,) = find_images(tmp_path, 1, 0).files
    assert file.size == (4, 6)
    pixels = read_pixels(file, grey=False)
    assert pixels.shape == (3, 4, 6)
    np.testing.assert_allclose(pixels[:, 0, 0], [1, 0, 0.2], rtol=1e-6)
    assert read_pixels(file, grey=True).shape == (1, 4, 6)


def test_an_image_is_read_as_it_is_shown(save, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save("turned.jpg", size=(8, 2), exif=exif)
    (file,) = find_images(tmp_path, 1, 0).files
    assert file.size == (8, 2)
    assert read_pixels(file, grey=True).shape == (1, 8, 2)


def test_grey_is_told_by_the_pixels_and_not_by_the_format(save, tmp_path):
    save("a.png", colour=(7, 7, 7))
    save("b.png", colour=7)
    save("c.png", colour=(7, 7, 8))
    grey = [is_grey(read_pixels(f, grey=False)) for f in find_images(tmp_path, 9, 0).files]
    assert grey == [True, True, False]


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match="holds no image") as caught:
        find_images(tmp_path, 1, 0)
    assert "PNG" in caught.value.remedy


def test_a_missing_folder_and_a_file_are_refused(save, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        find_images(tmp_path / "none", 1, 0)
    with pytest.raises(InputError, match="is a file"):
        find_images(save("a.png"), 1, 0)


def test_a_damaged_image_is_named(save, tmp_path):
    path = save("b/broken.png")
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(InputError, match=re.escape(str(path))):
        find_images(tmp_path, 1, 0)


def test_an_image_that_ends_too_soon_is_named(tmp_path):
    path = tmp_path / "short.png"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=re.escape(str(path))):
        read_pixels(find_images(tmp_path, 1, 0).files[0], grey=False)
