"""From image files to the classes that a network sees in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nd_deploy.bundle.manifest import Manifest, TensorInfo
from nd_deploy.errors import InputError
from nd_deploy.preprocess import Preprocessing, default_preprocessing, load_image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nd_deploy.runtime.base import Runner

# Images that are decoded and run together where the model leaves the batch open.
_BATCH = 32


@dataclass(frozen=True)
class Guess:
    """A class that an image may be of.

    Attributes:
        index: the class's place among the network's outputs.
        label: its name; its place where no names are known.
        probability: the softmax of the outputs.
    """

    index: int
    label: str
    probability: float


def classify(
    runner: Runner, manifest: Manifest, images: Sequence[Path], top_k: int
) -> Iterator[tuple[Path, list[Guess]]]:
    """Run images through a network that gives a score for each class.

    Args:
        runner: the loaded model.
        manifest: of its bundle.
        images: files.
        top_k: how many classes to give for each.

    Yields:
        Each image with its likeliest classes, the likeliest first.

    Raises:
        InputError: the network does not read one image and give a vector of scores, or a file is
            no image.
    """
    import numpy as np

    port, preprocessing = _image_input(manifest)
    output = manifest.outputs[0]
    if len(output.shape) != 2:
        raise InputError(
            f"the network's output {output.name!r} {output.shape} is no score for each class",
            "run it on arrays: --npz in.npz --output out.npz",
        )
    fixed = port.shape[0] if isinstance(port.shape[0], int) else None
    size = fixed or _BATCH
    for start in range(0, len(images), size):
        paths = images[start : start + size]
        batch = np.concatenate([load_image(path, preprocessing) for path in paths])
        batch = filled_up(batch, fixed or len(paths)).astype(port.dtype)
        scores = runner.run({port.name: batch})[output.name]
        for path, probabilities in zip(paths, softmax(scores), strict=False):
            yield path, likeliest(probabilities, manifest.labels, top_k)


def filled_up(images: NDArray[np.float32], batch: int) -> NDArray[np.float32]:
    """Images (N, C, H, W), filled up to a model's fixed batch with the last of them."""
    import numpy as np

    return np.pad(images, ((0, batch - len(images)), (0, 0), (0, 0), (0, 0)), "edge")


def softmax(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probabilities from scores, along the last axis."""
    import numpy as np

    exact = scores.astype(np.float64)
    powers = np.exp(exact - exact.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def likeliest(
    probabilities: NDArray[np.float64], labels: Sequence[str] | None, top_k: int
) -> list[Guess]:
    """The likeliest classes of one image, the likeliest first.

    Args:
        probabilities: of each class.
        labels: the classes' names, where known.
        top_k: how many classes to give; all of them if there are fewer.
    """
    order = (-probabilities).argsort(kind="stable")[:top_k]
    return [Guess(int(i), labels[i] if labels else str(i), float(probabilities[i])) for i in order]


def _image_input(manifest: Manifest) -> tuple[TensorInfo, Preprocessing]:
    port = manifest.inputs[0]
    preprocessing = manifest.preprocessing or default_preprocessing(port.shape[1:])
    if len(manifest.inputs) != 1 or preprocessing is None:
        ports = ", ".join(f"{port.name} {port.shape}" for port in manifest.inputs)
        raise InputError(
            f"it is not known how an image becomes the network's input: {ports}",
            "run it on arrays: --npz in.npz --output out.npz",
        )
    return port, preprocessing
