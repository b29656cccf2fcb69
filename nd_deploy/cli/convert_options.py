"""What the options of `nd-deploy convert` mean: texts and files in, values out."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nd_deploy.cli.common import FILE
from nd_deploy.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nd_deploy.preprocess import Preprocessing

_WORDS = {"true": True, "false": False, "none": None}


def read_shape(
    context: click.Context, option: click.Parameter, text: str | None
) -> tuple[int, ...] | None:
    """Read "3x32x32"."""
    if text is None:
        return None
    try:
        shape = tuple(map(int, text.lower().split("x")))
    except ValueError:
        shape = (0,)
    if min(shape) < 1:
        raise click.BadParameter(f"{text!r} is no shape; write one as 3x32x32, without the batch")
    return shape


def read_numbers(
    context: click.Context, option: click.Parameter, text: str | None
) -> tuple[float, ...] | None:
    """Read "0.5,0.5,0.5"."""
    if text is None:
        return None
    try:
        return tuple(map(float, text.split(",")))
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r} is no list of numbers; write one as 0.5,0.5,0.5"
        ) from error


def read_settings(
    context: click.Context, option: click.Parameter, texts: Sequence[str]
) -> dict[str, Any]:
    """Read "depth=18"; a value that is no Python literal is a string."""
    settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise click.BadParameter(f"{text!r} is no setting; write one as depth=18")
        settings[name] = _value(value)
    return settings


def _value(text: str) -> object:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


checkpoint_option = click.option(
    "--checkpoint", type=FILE, metavar="FILE", help="The trained weights."
)
settings_option = click.option(
    "--set",
    "settings",
    metavar="NAME=VALUE",
    multiple=True,
    callback=read_settings,
    help="An argument for what makes the network; repeat it for more.",
)


def preprocessing_for(shape: Sequence[int], **given: Any) -> Preprocessing | None:  # noqa: ANN401
    """The preprocessing of an input of `shape` (C, H, W) that the options ask for.

    Args:
        shape: of one input, without the batch.
        **given: fields of `Preprocessing`; None for an option that was not given.

    Raises:
        InputError: options were given for an input that is no image, or make no sense.
    """
    from dataclasses import replace

    from nd_deploy.preprocess import default_preprocessing

    default = default_preprocessing(shape)
    asked = {name: value for name, value in given.items() if value is not None}
    if default is None:
        if asked:
            raise InputError(
                f"--{next(iter(asked)).replace('_', '-')} is for images, and the input is "
                f"{'x'.join(map(str, shape))}",
                "drop the option, or give --input as 1xHxW for grey or 3xHxW for colour",
            )
        return None
    return replace(default, **asked)


def read_labels(path: Path) -> tuple[str, ...]:
    """The classes' names, one a line, in the order of the network's outputs.

    Raises:
        InputError: the file cannot be read or holds none.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"--labels {path}: {error.strerror}", "name a text file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"--labels {path} is no UTF-8 text", "save it as UTF-8") from error
    labels = tuple(line.strip() for line in lines)
    while labels and not labels[-1]:
        labels = labels[:-1]
    if not labels:
        raise InputError(f"--labels {path} is empty", "write one label a line")
    return labels


def read_inputs(path: Path, shape: Sequence[int] | None) -> NDArray[np.float32]:
    """The user's own parity inputs, (samples, *shape).

    Raises:
        InputError: the file holds no such array.
    """
    import zipfile

    import numpy as np

    flag = f"--reference-inputs {path}"
    try:
        loaded = np.load(path, allow_pickle=False)
        arrays = [loaded] if isinstance(loaded, np.ndarray) else list(loaded.values())
    except FileNotFoundError as error:
        raise InputError(f"{flag}: there is no such file", "name a .npy or .npz file") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{flag} cannot be read: {error}", "write it with numpy.save or numpy.savez"
        ) from error
    if len(arrays) != 1:
        raise InputError(
            f"{flag} holds {len(arrays)} arrays", "save the inputs alone, as one array"
        )
    values = arrays[0]
    if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise InputError(f"{flag} holds values that are no finite numbers", "save finite floats")
    if values.ndim < 2 or not values.size or (shape and values.shape[1:] != tuple(shape)):
        expected = "x".join(map(str, ("samples", *(shape or ("C", "H", "W")))))
        raise InputError(
            f"{flag} has the shape {'x'.join(map(str, values.shape))}",
            f"save an array of {expected}",
        )
    return np.ascontiguousarray(values, dtype=np.float32)
