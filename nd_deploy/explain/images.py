"""Images from a folder, at their own size and as they are shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nd_deploy import compat
from nd_deploy.errors import InputError
from nd_deploy.preprocess import Preprocessing, load_image

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")


@dataclass(frozen=True)
class ImageFile:
    """An image that was found.

    Attributes:
        path: the file.
        name: the file's name in the folder that was searched, with forward slashes.
        size: (H, W) as it is shown.
    """

    path: Path
    name: str
    size: tuple[int, int]


@dataclass(frozen=True)
class FoundImages:
    """The images of a folder.

    Attributes:
        files: those that were taken, sorted by name.
        total: how many the folder holds.
    """

    files: tuple[ImageFile, ...]
    total: int


def find_images(folder: Path, limit: int, seed: int) -> FoundImages:
    """Find the images of a folder and the folders in it.

    Args:
        folder: where to look; hidden files and folders are passed over.
        limit: how many to take at most; of more, as many are drawn.
        seed: of that draw.

    Returns:
        The images.

    Raises:
        InputError: the folder is missing or holds no image, or one of the images is damaged.
        MissingDependencyError: Pillow is not installed.
    """
    compat.require("PIL.Image", "explain")
    if not folder.is_dir():
        kind = "is a file" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {kind}", "name a folder that holds images")
    found = sorted(
        (path.relative_to(folder).as_posix(), path)
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file()
    )
    found = [(name, path) for name, path in found if not f"/{name}".count("/.")]
    if not found:
        endings = ", ".join(suffix.removeprefix(".").upper() for suffix in SUFFIXES)
        raise InputError(f"{folder} holds no image", f"name a folder of images ({endings})")
    taken = found
    if len(found) > limit:
        drawn = np.random.default_rng(seed).choice(len(found), limit, replace=False)
        taken = [found[index] for index in sorted(drawn)]
    return FoundImages(
        tuple(ImageFile(path, name, _size(path)) for name, path in taken), len(found)
    )


def read_pixels(image: ImageFile, grey: bool) -> NDArray[np.float32]:
    """Read an image, from 0 to 1.

    Args:
        image: what to read; transparency becomes white.
        grey: whether to take its brightness alone.

    Returns:
        (1, H, W) or (3, H, W).

    Raises:
        InputError: the image is damaged or too large.
    """
    mode = "L" if grey else "RGB"
    pixels: NDArray[np.float32] = load_image(image.path, Preprocessing(mode, image.size))[0]
    return pixels


def is_grey(pixels: NDArray[np.floating[Any]]) -> bool:
    """Whether an image's channels (C, H, W) are all equal."""
    return bool((pixels == pixels[:1]).all())


def _size(path: Path) -> tuple[int, int]:
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            width, height = ImageOps.exif_transpose(file).size
    except Exception as error:  # decoders raise nearly anything on a damaged file
        raise InputError(
            f"{path} is no image, or a damaged one ({type(error).__name__}: {error})",
            "check that an image viewer opens it, or take it out of the folder",
        ) from error
    return height, width
