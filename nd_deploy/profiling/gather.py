"""Finds the models that are to be compared: bundles, what a naive export makes of them, files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nd_deploy.bundle import Bundle, read_bundle
from nd_deploy.errors import InputError
from nd_deploy.profiling.contestant import TORCH, TORCH_CUDA
from nd_deploy.profiling.entries import NAIVE, ONNX, Entry, bundle_entry, onnx_entry
from nd_deploy.profiling.subjects.base import NetworkSource
from nd_deploy.runtime.choose import deployed_model
from nd_deploy.runtime.options import ORT_RUNTIMES

if TYPE_CHECKING:
    from torch import nn

Report = Callable[[str], None]


def gather(
    bundles: Sequence[Path | str],
    against: Sequence[Path | str],
    runtimes: Sequence[str],
    folder: Path,
    network: nn.Module | None = None,
    checkpoint: Path | None = None,
    report: Report = lambda line: None,
) -> list[Entry]:
    """Read what takes part, and make what has to be made.

    Args:
        bundles: folders, at least one.
        against: "naive", or ONNX files, to compare the bundles with; the first is the baseline.
        runtimes: that will run them.
        folder: an empty one, for models that are made here; it has to stay until the end.
        network: of a single bundle, instead of the one that its manifest tells of.
        checkpoint: where the weights of that are now.
        report: called with a line of text as a step begins.

    Returns:
        The baseline's model first.

    Raises:
        InputError: a file is missing or reads something else than the bundle, or the network is
            needed and not to be had.
        BundleError: a folder is no bundle, or not as it was written.
        ExportError: torch.onnx.export refuses the network.
    """
    if not bundles:
        raise InputError("there is nothing to measure", "name a bundle")
    if network is not None and len(bundles) != 1:
        raise InputError(
            f"one network is given, and {len(bundles)} bundles", "measure one bundle at a time"
        )
    if checkpoint is not None and len(bundles) != 1:
        raise InputError(
            f"--checkpoint {checkpoint} is given, and {len(bundles)} bundles",
            "measure one bundle at a time",
        )
    by_torch = {TORCH, TORCH_CUDA} & set(runtimes)
    naive = NAIVE in map(str, against)
    found = []
    for index, (given, name) in enumerate(zip(bundles, _names(bundles), strict=True)):
        report(f"reading {given}")
        bundle = read_bundle(given)
        source = _network(bundle, network, checkpoint) if by_torch or naive else None
        files = _files(bundle, index, runtimes, folder)
        found.append(bundle_entry(name, str(given), bundle, files, source))
    compared = [
        entry
        for item, name in zip(against, _names(against), strict=True)
        for entry in (
            _naive(found, folder, report)
            if str(item) == NAIVE
            else [onnx_entry(name, ONNX, Path(item), str(item), found[0])]
        )
    ]
    _require_own_names([*compared, *found])
    return [*compared, *found]


def _network(bundle: Bundle, network: nn.Module | None, checkpoint: Path | None) -> NetworkSource:
    from nd_deploy.origin import GivenNetwork, origin_of

    if network is not None:
        return GivenNetwork(network, bundle.manifest.statistics)
    return origin_of(bundle, checkpoint)


def _files(bundle: Bundle, index: int, runtimes: Sequence[str], folder: Path) -> dict[str, Path]:
    """The bundle's own file, and one with function bodies where a runtime needs another."""
    import onnx

    files = {"": bundle.model_path}
    for runtime in set(runtimes) & set(ORT_RUNTIMES):
        model = deployed_model(bundle, runtime)
        if isinstance(model, Path):
            continue
        own = folder / f"{index}-{runtime}.onnx"
        onnx.save(model, own)
        files[runtime] = own
    return files


def _naive(bundles: Sequence[Entry], folder: Path, report: Report) -> Iterator[Entry]:
    from nd_deploy.naive_export import export_naively

    for index, entry in enumerate(bundles):
        assert entry.network is not None
        report(f"exporting the network of {entry.name} naively")
        file = folder / f"{index}-naive.onnx"
        inputs = {port.name: entry.reference.inputs[port.name] for port in entry.inputs}
        fixed = all(port.shape and isinstance(port.shape[0], int) for port in entry.inputs)
        export_naively(entry.network.load(), inputs, file, dynamic_batch=not fixed)
        name = NAIVE if len(bundles) == 1 else f"{NAIVE} {entry.name}"
        yield onnx_entry(name, NAIVE, file, None, entry)


def _names(paths: Sequence[Path | str]) -> list[str]:
    """The last part of each path where that tells them apart, else the whole path."""
    last = [Path(path).resolve().name for path in paths]
    return [
        name if last.count(name) == 1 else str(path) for path, name in zip(paths, last, strict=True)
    ]


def _require_own_names(entries: Sequence[Entry]) -> None:
    names = [entry.name for entry in entries]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"two models are called {twice[0]}", "copy one of them under another name")
