"""The model that trtexec is to measure, or has measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nd_deploy.errors import InputError
from nd_deploy.runtime.tensorrt.profile import Shape, parse_batch, parse_shape

if TYPE_CHECKING:
    from nd_deploy.bundle.manifest import TensorInfo
    from nd_deploy.profiling.layers.attribution import Attribution


@dataclass(frozen=True)
class MeasuredModel:
    """A bundle, or an ONNX model by itself.

    Attributes:
        path: as it was given.
        onnx: its ONNX file.
        inputs: of the model.
        precision: the dtypes of its weights.
        nd_layers: the ND layers of its network, by their paths; None where that is not known.
    """

    path: Path
    onnx: Path
    inputs: tuple[TensorInfo, ...]
    precision: str
    nd_layers: tuple[str, ...] | None

    @property
    def name(self) -> str:
        """What it is called in a measurement."""
        return self.path.name if self.is_bundle else self.path.stem

    @property
    def is_bundle(self) -> bool:
        """Whether it is a bundle."""
        return self.path != self.onnx

    def shapes(self, batch: int | None, given: Sequence[str] = ()) -> dict[str, Shape]:
        """The shapes to be run on.

        Args:
            batch: how many inputs a run takes; None where `given` tells, or the model fixes it.
            given: whole shapes of inputs, such as "input=8x3x64x64".

        Returns:
            Those of the inputs that have an open axis.

        Raises:
            InputError: an open axis has no size, a fixed one has, sizes that have to be equal
                differ, or a range is given.
        """
        from nd_deploy.runtime.tensorrt.shapes import make_profiles

        ranges = list(map(parse_shape, given))
        for text, (_, shape) in zip(given, ranges, strict=True):
            if shape.min != shape.max:
                raise InputError(f"--shape {text} is a range", "give the one shape to be run on")
        batches = [] if batch is None else [parse_batch(str(batch))]
        profiles = make_profiles(self.inputs, batches, ranges)
        return {name: shape.opt for profile in profiles for name, shape in profile.shapes.items()}

    def batch(self, shapes: dict[str, Shape]) -> int:
        """How many inputs a run on some shapes takes."""
        for port in self.inputs:
            shape = shapes.get(port.name, port.shape)
            if shape:
                return int(shape[0])
        return 1

    def attribution(self) -> Attribution:
        """What finds the layers of the model."""
        import onnx

        from nd_deploy.profiling.layers.attribution import attribution_of

        outline = onnx.load(self.onnx, load_external_data=False)
        return attribution_of(outline, self.nd_layers or ())


def read_model(path: Path) -> MeasuredModel:
    """Read a bundle, or an ONNX file.

    Raises:
        BundleError: it is neither.
        GraphError: it is a file that holds no ONNX model.
    """
    if path.is_file():
        from nd_deploy.runtime.tensorrt.facts import read_facts

        facts = read_facts(path)
        return MeasuredModel(path, path, facts.inputs, facts.precision, None)
    from nd_deploy.bundle import read_bundle

    bundle = read_bundle(path)
    layers = tuple(dict.fromkeys(str(each["layer"]) for each in bundle.decisions))
    manifest = bundle.manifest
    return MeasuredModel(path, bundle.model_path, manifest.inputs, manifest.precision, layers)
