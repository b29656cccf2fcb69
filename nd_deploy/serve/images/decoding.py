"""From an image file's bytes to a model's input, within limits."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from nd_deploy.errors import InputError
from nd_deploy.preprocess import Preprocessing, image_to_input
from nd_deploy.serve.images.structure import check_structure
from nd_deploy.serve.refusal import BAD_REQUEST, NOT_READY, TOO_LARGE, Refusal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
_NAMES = "JPEG, PNG, WebP or BMP"


def load_decoders() -> None:
    """Import what decodes the formats that are taken, so that no request waits for it."""
    from PIL import (  # noqa: F401 - each makes itself known to Pillow
        BmpImagePlugin,
        JpegImagePlugin,
        MpoImagePlugin,
        PngImagePlugin,
        WebPImagePlugin,
    )


def decode_image(data: bytes, preprocessing: Preprocessing, max_pixels: int) -> NDArray[np.float32]:
    """Decode an image file as `nd_deploy.preprocess.load_image` does, but trust it in nothing.

    Format and size are read from its header before any pixel is decoded.

    Args:
        data: the file; of an animation, the first frame is taken.
        preprocessing: of the model.
        max_pixels: that the image may have.

    Returns:
        (1, C, H, W).

    Raises:
        Refusal: 400, it is no image of the formats that are taken, or a damaged one; 413, it has
            too many pixels; 503, there is no memory for it now.
    """
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise _refused("the body is empty: send an image file as the request's body")
    check_structure(data)
    try:
        # Decoders raise nearly anything on a damaged file, and all of it is about the file.
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_header(image, max_pixels)
            return image_to_input(image, preprocessing, max_pixels)
    except Refusal:
        raise
    except UnidentifiedImageError as error:
        raise _refused(f"this is no {_NAMES} image, or its beginning is damaged") from error
    except InputError as error:
        raise _refused(f"the image cannot be used: {error.problem}") from error
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(max_pixels) from error
    except MemoryError as error:
        message = "there is no memory for this image now: try again, or send a smaller one"
        raise Refusal(NOT_READY, "memory", message, retry_after=1) from error
    except Exception as error:
        raise _refused("the image is damaged or cut short: save it again") from error


def _check_header(image: Image.Image, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise _too_many_pixels(max_pixels)
    if any(tile.codec_name == "bmp_rle" for tile in getattr(image, "tile", ())):
        # Pillow decodes it run by run in Python, and holds up all other requests by that.
        raise _refused("run-length encoded BMP images are not taken: save it as PNG")


def _too_many_pixels(limit: int) -> Refusal:
    return Refusal(
        TOO_LARGE,
        "image pixels",
        f"the image has more than the {limit} pixels that are taken here: scale it down first",
    )


def _refused(message: str) -> Refusal:
    return Refusal(BAD_REQUEST, "image", message)
