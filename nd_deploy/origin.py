"""Where the trained network of a bundle comes from, so that PyTorch can run it once more.

A bundle holds no network: it names the code that built it and the checkpoint that its weights are
from. What that gives today is held against the outputs that the bundle keeps.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nd_deploy import compat
from nd_deploy.bundle import Bundle, read_bundle
from nd_deploy.bundle.manifest import MANIFEST, REMADE, RUNNING, STATISTICS
from nd_deploy.errors import BundleError, InputError

if TYPE_CHECKING:
    from torch import nn

    from nd_deploy.bundle import TensorInfo
    from nd_deploy.nd.checkpoint import Checkpoint
    from nd_deploy.parity.measure import Array

_GIVE_IT = (
    "compare with an export of your own (--against MODEL.onnx), or give the network from Python: "
    "nd_deploy.profile(..., network=module)"
)


def record(
    source: str | None, settings: Mapping[str, Any], checkpoint: Path | str | None
) -> dict[str, Any]:
    """What a manifest says of a network's origin.

    Args:
        source: as `nd-deploy convert` takes it; None for the network of `nd_deploy.models` that
            the checkpoint fits.
        settings: arguments of `source`, by name.
        checkpoint: the file that the weights were read from, if they were.

    Returns:
        JSON-ready fields. Settings are texts, as --set takes them, since JSON has no tuples.

    Raises:
        InputError: a setting is no number, string, or collection of such.
    """
    return {
        "source": source,
        "settings": {name: _text(name, value) for name, value in settings.items()},
        "checkpoint": None if checkpoint is None else str(checkpoint),
    }


@dataclass(frozen=True)
class Origin:
    """Where a bundle's network comes from; a `nd_deploy.profiling.subjects.base.NetworkSource`.

    Attributes:
        bundle: the bundle.
        source: as of `record`.
        settings: of `source`, by name.
        checkpoint: the file with the weights; None where `source` brings them along.
        sha256: of that file, in hex, where it is known.
        statistics: what ND layers whiten by, one of `nd_deploy.bundle.manifest.STATISTICS`.
    """

    bundle: Path
    source: str | None
    settings: Mapping[str, Any]
    checkpoint: Path | None
    sha256: str | None
    statistics: str = RUNNING

    def load(self) -> nn.Module:
        """Build the network, on the CPU, in float32 and eval mode, with its trained weights.

        Where its layers whiten by the statistics of the batch, they do so in this mode too.

        Raises:
            InputError: its code or its checkpoint is not to be had any more, or not the same: it
                computes something else than the bundle's network did.
            MissingDependencyError: torch is not installed.
        """
        compat.torch()
        from nd_deploy.nd.checkpoint import load_into
        from nd_deploy.networks.ready import ready_to_run
        from nd_deploy.networks.source import load_network

        checkpoint = None if self.checkpoint is None else self._read(self.checkpoint)
        built = load_network(self.source, self.settings, checkpoint, only_here=True)
        if checkpoint is not None:
            load_into(built.module, checkpoint)
        network = ready_to_run(built.module, self.statistics)
        self._require_same(network)
        return network

    def as_dict(self) -> dict[str, Any]:
        """The origin as JSON-ready fields."""
        return {
            **record(self.source, self.settings, self.checkpoint),
            "bundle": str(self.bundle),
            "sha256": self.sha256,
            "statistics": self.statistics,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Origin:
        """The inverse of `as_dict`.

        Raises:
            ValueError: a field is missing or not what it has to be.
        """
        texts = {name: fields[name] for name in ("source", "checkpoint", "sha256")}
        settings = fields["settings"]
        wrong = [n for n, text in texts.items() if not (text is None or isinstance(text, str))]
        if wrong or not isinstance(settings, dict) or fields["statistics"] not in STATISTICS:
            raise ValueError(f"{', '.join(wrong) or 'settings or statistics'} cannot be read")
        if texts["source"] is None and texts["checkpoint"] is None:
            raise ValueError("neither source nor checkpoint is named")
        return cls(
            bundle=Path(fields["bundle"]),
            source=texts["source"],
            settings={str(name): _value(text) for name, text in settings.items()},
            checkpoint=None if texts["checkpoint"] is None else Path(texts["checkpoint"]),
            sha256=texts["sha256"],
            statistics=fields["statistics"],
        )

    def _read(self, path: Path) -> Checkpoint:
        from nd_deploy.nd.checkpoint import read_checkpoint

        if not path.exists():
            raise InputError(
                f"{path}, the checkpoint of {self.bundle}, is not there",
                "run in the folder where the bundle was converted, or name the file: "
                "--checkpoint FILE",
            )
        checkpoint = read_checkpoint(path)
        if self.sha256 is not None and checkpoint.sha256 != self.sha256:
            raise InputError(
                f"{path} is not the checkpoint that {self.bundle} was converted from: its SHA-256 "
                f"is {checkpoint.sha256[:12]}..., and has to be {self.sha256[:12]}...",
                "name the file that it was: --checkpoint FILE, or convert this one",
            )
        return checkpoint

    def _require_same(self, network: nn.Module) -> None:
        """Refuse code that has changed, and weights that were drawn at random."""
        import torch

        from nd_deploy.parity.measure import FOLD_BUDGET, worst_error
        from nd_deploy.parity.record import float64_outputs

        inputs, truth = _kept(read_bundle(self.bundle, check_files=False))
        tensors = {name: torch.from_numpy(x) for name, x in inputs.items()}
        error = worst_error(float64_outputs(network, tensors), truth)
        if error > FOLD_BUDGET:
            raise InputError(
                f"the network that {self.source or self.checkpoint} gives now is not the one in "
                f"{self.bundle}: in float64 their outputs differ by {error:.1e}",
                f"convert it again{'' if self.checkpoint else ', from a checkpoint'}, or give the "
                "network from Python: nd_deploy.profile(..., network=module)",
            )


def origin_of(bundle: Bundle, checkpoint: Path | None = None) -> Origin:
    """Where a bundle's network comes from, by what its manifest says.

    Args:
        bundle: not changed.
        checkpoint: where the file with the weights is now, if not where it was.

    Raises:
        InputError: the bundle does not say, or `checkpoint` is given and it was made without one.
        BundleError: what it says is malformed.
    """
    manifest = bundle.manifest
    if manifest.origin is None:
        raise InputError(
            f"{bundle.path} does not tell how its network is built: it was converted from Python, "
            "or by an older nd-deploy",
            _GIVE_IT,
        )
    if checkpoint is not None and manifest.origin.get("checkpoint") is None:
        raise InputError(
            f"--checkpoint {checkpoint}: {bundle.path} was converted without a checkpoint",
            "leave it out",
        )
    given = {} if checkpoint is None else {"checkpoint": str(checkpoint)}
    known = {
        "bundle": str(bundle.path),
        "sha256": (manifest.checkpoint or {}).get("sha256"),
        "statistics": manifest.statistics,
    }
    try:
        return Origin.from_dict({**manifest.origin, **given, **known})
    except (KeyError, ValueError, SyntaxError) as error:
        raise BundleError(
            f"the origin in {bundle.path / MANIFEST} is malformed: {error}", REMADE
        ) from error


@dataclass(frozen=True)
class GivenNetwork:
    """A network that a caller in Python gives, for this process alone; a `NetworkSource`.

    Attributes:
        module: in any mode and on any device; not changed.
        statistics: as of `Origin`.
    """

    module: nn.Module
    statistics: str = RUNNING

    def load(self) -> nn.Module:
        """A copy on the CPU, in float32 and eval mode, that shares the module's weights.

        Raises:
            UnsupportedLayerError: its layers cannot be run on the statistics of the batch.
            InputError: it holds something that cannot be copied.
        """
        from nd_deploy.networks.ready import ready_to_run

        return ready_to_run(self.module, self.statistics)


def _kept(bundle: Bundle) -> tuple[dict[str, Array], list[Array]]:
    """Inputs and PyTorch's float64 outputs, of one sample where a batch may be one."""
    from nd_deploy.parity.reference import Reference

    manifest, kept = bundle.manifest, Reference.from_arrays(bundle.reference())

    def few(array: Array, port: TensorInfo) -> Array:
        is_open = bool(port.shape) and isinstance(port.shape[0], str)
        return array[:1] if is_open and not manifest.batch_dependent else array

    inputs = {port.name: few(kept.inputs[port.name], port) for port in manifest.inputs}
    return inputs, list(map(few, kept.truth, manifest.outputs))


def _text(name: str, value: object) -> str:
    text = repr(value)
    try:
        same = ast.literal_eval(text) == value
    except (ValueError, SyntaxError):
        same = False
    if not same:
        raise InputError(
            f"the setting {name} cannot be written down: it is a {type(value).__name__}",
            "give numbers, strings, and tuples, lists, sets and dicts of such",
        )
    return text


def _value(text: object) -> object:
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is no setting")
    return ast.literal_eval(text)
