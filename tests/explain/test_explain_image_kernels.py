import numpy as np
import pytest
from PIL import Image
from whitened import inverse_root

from nd_deploy.errors import InputError
from nd_deploy.explain.image_kernels import Settings, kernels_of_images
from nd_deploy.explain.images import find_images, read_pixels

SMALL = Settings(patch=3, eps=1e-3, n_iter=40)


@pytest.fixture
def photos(tmp_path):
    """Write smooth random images, and find them."""

    def write(*sizes, grey=(), channels=3):
        for index, (height, width) in enumerate(sizes):
            generator = np.random.default_rng(index)
            noise = generator.normal(size=(height + 2, width + 2, channels))
            smooth = noise[1:-1, 1:-1] + 0.6 * (
                noise[2:, 1:-1] + noise[:-2, 1:-1] + noise[1:-1, 2:] + noise[1:-1, :-2]
            )
            pixels = np.clip(110 + (index + 1) * 15 * smooth, 0, 255).astype(np.uint8)
            if channels == 1:
                pixels = pixels[:, :, 0]
            elif index in grey:
                pixels[:] = pixels[:, :, :1]
            Image.fromarray(pixels).save(tmp_path / f"{index}.png")
        return find_images(tmp_path, 100, 0).files

    return write


def patches_of(pixels, size):
    """Every patch of an image (C, H, W), by a loop."""
    _, height, width = pixels.shape
    return np.array(
        [
            pixels[:, y : y + size, x : x + size].ravel()
            for y in range(height - size + 1)
            for x in range(width - size + 1)
        ],
        np.float64,
    )


def kernels_of(patches, channels, size, eps):
    covariance = np.cov(patches.T, bias=True) + eps * np.eye(patches.shape[1])
    centres = [channel * size**2 + size**2 // 2 for channel in range(channels)]
    return inverse_root(covariance)[centres].reshape(channels, channels, size, size)


def test_pooled_kernels_are_those_of_all_patches_together(photos):
    files = photos((20, 24), (16, 18), (9, 30))
    found = kernels_of_images(files, SMALL)
    patches = np.concatenate([patches_of(read_pixels(file, False), 3) for file in files])
    expected = kernels_of(patches, 3, 3, 1e-3)
    assert found.channels == 3
    for method in ("exact", "newton_schulz"):
        assert found.pooled_peak[method] == pytest.approx(np.abs(expected).max(), rel=1e-7)
        np.testing.assert_allclose(
            found.pooled[method], expected / np.abs(expected).max(), atol=1e-8
        )
    assert found.disagreement < 1e-8


def test_the_average_weighs_every_image_alike(photos):
    files = photos((20, 24), (16, 18), (9, 30))
    found = kernels_of_images(files, SMALL)
    own = [kernels_of(patches_of(read_pixels(file, False), 3), 3, 3, 1e-3) for file in files]
    scaled = np.array([kernel / np.abs(kernel).max() for kernel in own])
    np.testing.assert_allclose(found.mean["exact"], scaled.mean(0), atol=1e-9)
    np.testing.assert_allclose(found.spread["exact"], scaled.std(0), atol=1e-9)
    peaks = [image.peak["exact"] for image in found.images]
    np.testing.assert_allclose(peaks, [np.abs(kernel).max() for kernel in own], rtol=1e-9)
    assert [image.patches for image in found.images] == [18 * 22, 14 * 16, 7 * 28]


def test_white_noise_is_left_as_it_is(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    found = kernels_of_images(find_images(tmp_path, 1, 0).files, SMALL)
    expected = np.zeros((1, 1, 3, 3))
    expected[0, 0, 1, 1] = 1
    np.testing.assert_allclose(found.pooled["exact"], expected, atol=0.02)


def test_a_flat_image_does_not_outweigh_the_others(photos, tmp_path):
    files = photos((24, 24), (24, 24))
    before = kernels_of_images(files, SMALL).mean["exact"]
    flat = np.full((24, 24, 3), 90, np.uint8)
    flat[0, 0, 0] = 91
    Image.fromarray(flat).save(tmp_path / "flat.png")
    found = kernels_of_images(find_images(tmp_path, 9, 0).files, SMALL)
    np.testing.assert_allclose(found.mean["exact"], (2 * before + found_flat()) / 3, atol=1e-3)


def found_flat():
    """Of an image where nothing varies, D is a multiple of the identity."""
    kernels = np.zeros((3, 3, 3, 3))
    kernels[range(3), range(3), 1, 1] = 1
    return kernels


def test_grey_images_are_left_out_of_a_look_at_colour(photos):
    files = photos((12, 12), (12, 12), (12, 12), grey=(1,))
    found = kernels_of_images(files, SMALL)
    assert found.left_out == ("1.png",)
    assert [image.name for image in found.images] == ["0.png", "2.png"]
    alone = kernels_of_images([files[0], files[2]], SMALL)
    np.testing.assert_allclose(found.pooled["exact"], alone.pooled["exact"], atol=1e-12)


def test_grey_images_alone_are_looked_at_for_brightness(photos):
    found = kernels_of_images(photos((12, 12), (12, 12), channels=1), SMALL)
    assert (found.channels, found.left_out, found.features) == (1, (), 9)


def test_brightness_can_be_asked_for(photos):
    found = kernels_of_images(photos((12, 12), (12, 12), grey=(0,)), SMALL, grey=True)
    assert found.channels == 1
    assert len(found.images) == 2


def test_the_seed_draws_the_patches(photos):
    files = photos((30, 30))
    few = {"patch": 3, "eps": 1e-3, "patches": 50}
    first, again, other = (
        kernels_of_images(files, Settings(**few, seed=seed)).pooled["exact"] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_the_conditions_are_those_of_d(photos):
    files = photos((20, 24))
    found = kernels_of_images(files, Settings(patch=3, eps=1e-3, n_iter=2))
    covariance = np.cov(patches_of(read_pixels(files[0], False), 3).T, bias=True)
    assert found.condition["exact"] == pytest.approx(
        np.sqrt(np.linalg.cond(covariance + 1e-3 * np.eye(27))), rel=1e-6
    )
    assert found.condition["newton_schulz"] <= 1.5**2


def test_an_image_smaller_than_a_patch_is_named(photos):
    files = photos((20, 20), (4, 20))
    with pytest.raises(InputError, match=r"1\.png is 20x4 pixels.*5x5") as caught:
        kernels_of_images(files, Settings(patch=5))
    assert "--patch" in caught.value.remedy


@pytest.mark.parametrize("patch", [4, 1, 0, -3])
def test_a_patch_without_a_centre_and_a_surround_is_refused(patch):
    with pytest.raises(InputError, match=f"patch of {patch} pixels") as caught:
        Settings(patch=patch)
    assert "odd" in caught.value.remedy


@pytest.mark.parametrize("eps", [0.0, -1.0, float("nan")])
def test_an_eps_that_is_not_positive_is_refused(eps):
    with pytest.raises(InputError, match="eps is"):
        Settings(eps=eps)
