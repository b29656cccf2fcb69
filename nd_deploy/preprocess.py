"""From an image file to what a network reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nd_deploy import compat
from nd_deploy.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

CHANNELS = {"L": 1, "RGB": 3}
RESIZES = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
CROPS = ("none", "center")

# What Pillow starts to warn at; decoded, such an image takes 256 MiB.
_MAX_PIXELS = 1024 * 1024 * 1024 // 4 // 3
# With its proportions kept, an image may always become so many times the input's pixels.
_PROTRUDING = 16


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes a network's input, (1, C, H, W) in float32.

    The image is made `mode`, resized, cropped, multiplied by `scale`, and normalised with `mean`
    and `std`, in this order.

    Attributes:
        mode: "L" for grey, "RGB" for colour.
        size: (H, W).
        resize: the filter, one of `RESIZES`.
        crop: "none" stretches the image to the size; "center" keeps its proportions and cuts off
            what protrudes.
        crop_fraction: for "center", the share of the resized image's shorter side that the crop
            spans: 0.875 is ImageNet's 256 cropped to 224.
        scale: multiplies the pixels' 0 to 255.
        mean: per channel, after the scale; empty for 0.
        std: per channel, after the scale; empty for 1.
    """

    mode: str
    size: tuple[int, int]
    resize: str = "bilinear"
    crop: str = "none"
    crop_fraction: float = 1.0
    scale: float = 1 / 255
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("mode", self.mode, tuple(CHANNELS)),
            ("resize", self.resize, RESIZES),
            ("crop", self.crop, CROPS),
        ):
            if value not in allowed:
                raise InputError(
                    f"preprocessing: {name} is {value!r}", f"use one of {', '.join(allowed)}"
                )
        if len(self.size) != 2 or min(self.size) < 1:
            raise InputError(
                f"preprocessing: size is {self.size}", "give the height and the width in pixels"
            )
        if not 0 < self.crop_fraction <= 1:
            raise InputError(
                f"preprocessing: crop_fraction is {self.crop_fraction}",
                "give a share over 0 and up to 1",
            )
        channels = CHANNELS[self.mode]
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values and len(values) != channels:
                raise InputError(
                    f"preprocessing: {name} has {len(values)} values for {channels} channels",
                    f"give one {name} per channel, in the order {', '.join(self.mode)}",
                )
        if any(not value > 0 for value in self.std):
            raise InputError(f"preprocessing: std is {self.std}", "give values over 0")

    def as_dict(self) -> dict[str, Any]:
        """The preprocessing as JSON-ready fields."""
        return asdict(self) | {"layout": "NCHW"}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Preprocessing:
        """The inverse of `as_dict`."""
        known = {key: value for key, value in fields.items() if key != "layout"}
        for key, kind in (("size", int), ("mean", float), ("std", float)):
            known[key] = tuple(map(kind, known[key]))
        return cls(**known)


def default_preprocessing(shape: Sequence[int | str]) -> Preprocessing | None:
    """The plainest preprocessing that fits an input of shape (C, H, W).

    Returns:
        Pixels from 0 to 1, stretched to the input's size; None where the shape is no image's.
    """
    modes = {channels: mode for mode, channels in CHANNELS.items()}
    if len(shape) != 3 or shape[0] not in modes:
        return None
    height, width = shape[1:]
    if not isinstance(height, int) or not isinstance(width, int):
        return None
    return Preprocessing(modes[int(shape[0])], (height, width))


def load_image(path: Path, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Read an image file into (1, C, H, W), as `image_to_input` has it.

    Args:
        path: any format that Pillow reads; of an animation, the first frame.
        preprocessing: what to do to it.

    Raises:
        InputError: the file is missing, is no image, is damaged or is too large.
        MissingDependencyError: Pillow is not installed.
    """
    compat.require("PIL.Image", "images")
    from PIL import Image

    if not path.is_file():
        raise InputError(
            f"{path} is a folder" if path.is_dir() else f"there is no file {path}",
            "name image files, for example photos/*.jpg",
        )
    try:
        # Decoders raise nearly anything on a damaged file, and all of it is about the file.
        with Image.open(path) as file:
            return image_to_input(file, preprocessing)
    except InputError as error:
        raise InputError(f"{path}: {error.problem}", error.remedy) from error
    except Image.DecompressionBombError as error:
        too_many = _too_many_pixels(_MAX_PIXELS)
        raise InputError(f"{path}: {too_many.problem}", too_many.remedy) from error
    except PermissionError as error:
        raise InputError(f"{path} cannot be read", "check the file's permissions") from error
    except Exception as error:
        raise InputError(
            f"{path} is no image, or a damaged one ({type(error).__name__}: {error})",
            "check that an image viewer opens it, or save it again as PNG or JPEG",
        ) from error


def image_to_input(
    image: Image.Image, preprocessing: Preprocessing, max_pixels: int = _MAX_PIXELS
) -> NDArray[np.float32]:
    """Turn an image that Pillow has opened into (1, C, H, W).

    The orientation in its EXIF data is applied, transparency becomes white, and 16 bits become 8.

    Args:
        image: whose pixels may not have been decoded yet; of an animation, the first frame. It is
            turned in place.
        preprocessing: what to do to it.
        max_pixels: that the image may have. Resized before a crop, it may have as many, or 16
            times the input's.

    Raises:
        InputError: it has more pixels, or pixels without a known range. What Pillow raises on a
            damaged image, nearly anything, goes on its way.
    """
    import numpy as np

    values = _prepare(image, preprocessing, max_pixels).astype(np.float32)
    values *= np.float32(preprocessing.scale)
    if preprocessing.mean:
        values -= np.asarray(preprocessing.mean, np.float32)
    if preprocessing.std:
        values /= np.asarray(preprocessing.std, np.float32)
    return np.ascontiguousarray(values.transpose(2, 0, 1)[np.newaxis])


def _prepare(
    image: Image.Image, preprocessing: Preprocessing, max_pixels: int
) -> NDArray[np.uint8]:
    import numpy as np
    from PIL import Image, ImageOps

    if image.width * image.height > max_pixels:
        raise _too_many_pixels(max_pixels)
    ImageOps.exif_transpose(image, in_place=True)
    image = _to_mode(image, preprocessing.mode)
    filter_ = Image.Resampling[preprocessing.resize.upper()]
    height, width = preprocessing.size
    if preprocessing.crop == "none":
        image = image.resize((width, height), filter_)
    else:
        image = _center_crop(image, preprocessing, filter_, max_pixels)
    return np.asarray(image).reshape(height, width, CHANNELS[preprocessing.mode])


def _center_crop(
    image: Image.Image,
    preprocessing: Preprocessing,
    filter_: Image.Resampling,
    max_pixels: int,
) -> Image.Image:
    height, width = preprocessing.size
    cover = max(height / image.height, width / image.width) / preprocessing.crop_fraction
    # Where a pixel goes is rounded as torchvision's Resize and CenterCrop round it.
    resized = (
        max(width, int(image.width * cover + 1e-6)),
        max(height, int(image.height * cover + 1e-6)),
    )
    if resized[0] * resized[1] > max(max_pixels, _PROTRUDING * height * width):
        raise InputError(
            f"its sides are too unequal: {image.width}x{image.height} pixels would become "
            f"{resized[0]}x{resized[1]} before the crop to {width}x{height}",
            "cut out the part that matters first",
        )
    image = image.resize(resized, filter_)
    left, top = round((resized[0] - width) / 2), round((resized[1] - height) / 2)
    return image.crop((left, top, left + width, top + height))


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        image = _to_8_bits(image)
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        opaque = image.convert("RGBA")
        white = Image.new("RGBA", opaque.size, "white")
        image = Image.alpha_composite(white, opaque)
    elif image.mode == "P":
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Scale 16 bits to 8, where Pillow's own conversion would clip them."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 0xFFFF:
        raise InputError(
            f"its pixels ({image.mode}) have no known range",
            "save it with 8 or 16 bits per channel, or pass the values themselves with --npz",
        )
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _too_many_pixels(limit: int) -> InputError:
    return InputError(
        f"it has more than {limit // 1_000_000} million pixels", "scale the image down first"
    )
