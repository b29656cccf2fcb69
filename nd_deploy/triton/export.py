"""From a bundle to a model repository of Triton, written whole and checked before it is there."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nd_deploy.bundle import MODEL, Bundle, read_bundle
from nd_deploy.bundle.atomic import new_folder
from nd_deploy.bundle.files import why_not_written
from nd_deploy.errors import InputError
from nd_deploy.runtime.tensorrt.profile import Range
from nd_deploy.serve.exchange import ModelSpec
from nd_deploy.triton import pbtxt, server
from nd_deploy.triton.accelerators import ACCELERATORS, CPU, FILES, PLAN, TENSORRT
from nd_deploy.triton.check import CONFIG, check_repository
from nd_deploy.triton.compose import COMPOSE, compose_file
from nd_deploy.triton.config import Hosting, configuration
from nd_deploy.triton.description import VERSION, describe_for_triton, samples
from nd_deploy.triton.kserve import KSERVE, kserve_file
from nd_deploy.triton.plan import Plan, check_batches, read_plan
from nd_deploy.triton.record import RECORD, check_output, files_in, write_record
from nd_deploy.triton.releases import IMAGE, Release, release_of

# Whose forms of a model ONNX Runtime reads without a plugin.
_READ = ("portable", "inlined")
# What separates inputs and shapes in the options of ONNX Runtime's TensorRT provider.
_SEPARATORS = ":,"
# What the parity inputs are called in a bundle's reference.
_INPUT = "input/"
# As model configurations name it.
LABELS = "labels.txt"


@dataclass(frozen=True)
class _Export:
    """An export, worked out before anything is written."""

    bundle: Bundle
    model: ModelSpec
    hosting: Hosting
    plan: Plan | None
    image: str
    release: Release

    @property
    def sources(self) -> list[tuple[Path, str]]:
        """Each file that is copied into the version's folder, and its name there."""
        if self.plan is not None:
            return [(self.plan.engine.plan_path, FILES["tensorrt"])]
        names = [MODEL, *sorted(_external_data(self.bundle))]
        return [(self.bundle.path / name, name) for name in names]

    @property
    def bytes(self) -> int:
        """The size of those files."""
        return sum(path.stat().st_size for path, _ in self.sources)


def export_triton(
    bundle: Path | str,
    output: Path | str,
    *,
    accelerator: str = CPU,
    name: str | None = None,
    max_batch: int | None = None,
    shapes: Sequence[str] = (),
    engine: Path | str | None = None,
    tensorrt: str | None = None,
    instances: int = 1,
    threads: int = 4,
    tf32: bool = False,
    image: str = IMAGE,
    compose: bool = False,
    kserve: bool = False,
    storage: str | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write a model repository of Triton that serves a bundle.

    Args:
        bundle: the bundle's folder.
        output: the repository's folder: the model in a folder of its own, and beside it files that
            Triton does not read.
        accelerator: "cpu", "cuda" and "tensorrt" run the ONNX model in ONNX Runtime; "plan" runs
            an engine in TensorRT.
        name: of the model; None for that of the bundle's folder.
        max_batch: the largest batch, where the model leaves it open; None for 32, or for what the
            engine takes.
        shapes: "tensorrt": for other open axes, such as "input=1x3x64x64:8x3x64x64:32x3x96x96".
        engine: "plan": the engine, with its record beside it.
        tensorrt: "plan": the version of TensorRT in the image.
        instances: of the model that run at once.
        threads: "cpu": of one operator.
        tf32: let float32 products be computed in TF32.
        image: of Triton, which is pinned in what is written and has to read the model.
        compose: write a Compose file as well.
        kserve: write KServe's resources as well.
        storage: of the repository in the cluster; None for "pvc://models/" and the output's name.
        overwrite: replace a repository that is there.

    Returns:
        Every file that was written.

    Raises:
        BundleError: `bundle` is no bundle, or its files have changed.
        InputError: the output exists, or cannot be written; the bundle is for another kind of host
            or of a form that the release does not read; the engine is not of the bundle or of
            another TensorRT; an option makes no sense; or Triton would refuse the result.
    """
    output = Path(output)
    check_output(output, overwrite)
    release = release_of(image)
    _check_options(accelerator, engine, tensorrt, shapes, instances, threads)
    source = read_bundle(bundle)
    plan = None
    if engine is not None:
        plan = read_plan(Path(engine), source, tensorrt, image)
    else:
        _check_target(source)
    model = _model(source, name, max_batch, plan)
    hosting = _hosting(source, model, plan, shapes, Hosting(accelerator, instances, threads, tf32))
    export = _Export(source, model, hosting, plan, image, release)
    texts = _extra_files(
        export, compose, kserve, storage or f"pvc://models/{output.resolve().name}"
    )
    try:
        with new_folder(output) as folder:
            _write(folder, export, texts)
    except OSError as error:
        reason, remedy = why_not_written(error, export.bytes)
        raise InputError(f"{output} cannot be written: {reason}", remedy) from error
    return [output / name for name in (*files_in(output), RECORD)]


def _check_options(
    accelerator: str,
    engine: Path | str | None,
    tensorrt: str | None,
    shapes: Sequence[str],
    instances: int,
    threads: int,
) -> None:
    if accelerator not in ACCELERATORS:
        raise InputError(
            f"there is no accelerator {accelerator!r}", f"choose one of {', '.join(ACCELERATORS)}"
        )
    if (engine is None) == (accelerator == PLAN):
        raise InputError(
            f"--accelerator {accelerator} goes {'with' if engine is None else 'without'} --engine",
            f"give --engine with --accelerator {PLAN}, and with no other",
        )
    if tensorrt is not None and accelerator != PLAN:
        raise InputError(
            "--tensorrt says what a plan is run by, and none is given",
            f"drop it, or give --accelerator {PLAN} and --engine",
        )
    if shapes and accelerator != TENSORRT:
        raise InputError(
            "--shape is of the engines that ONNX Runtime builds, and this is not "
            f"--accelerator {TENSORRT}",
            "drop it",
        )
    for flag, value in (("--instances", instances), ("--threads", threads)):
        if value < 1:
            raise InputError(f"{flag} is {value}", "give at least 1")


def _check_target(bundle: Bundle) -> None:
    target = bundle.manifest.target
    if target not in _READ:
        raise InputError(
            f"{bundle.path} is written for '{target}', which Triton's ONNX Runtime does not read "
            "as it is",
            f"convert the network for --target {' or '.join(_READ)}, or serve an engine of it: "
            f"--accelerator {PLAN} --engine FILE",
        )


def _model(bundle: Bundle, name: str | None, max_batch: int | None, plan: Plan | None) -> ModelSpec:
    name = name or bundle.path.resolve().name
    model = describe_for_triton(name, bundle.manifest, max_batch)
    if plan is None or max_batch is not None or not model.max_batch:
        return model
    largest = min(plan.largest_batch() or model.max_batch, model.max_batch)
    return describe_for_triton(name, bundle.manifest, largest)


def _hosting(
    bundle: Bundle, model: ModelSpec, plan: Plan | None, shapes: Sequence[str], usual: Hosting
) -> Hosting:
    references = {
        name.removeprefix(_INPUT): array.shape
        for name, array in bundle.reference().items()
        if name.startswith(_INPUT)
    }
    known = replace(usual, precision=bundle.manifest.precision, samples=samples(model, references))
    if plan is not None:
        check_batches(plan, bundle.manifest.inputs, model.max_batch)
        return replace(known, profiles=len(plan.profiles))
    if usual.accelerator != TENSORRT:
        return known
    ranges = _ranges(bundle, model, shapes)
    inside = samples(model, references | {name: each.opt for name, each in ranges.items()})
    told = "".join(f"{name}={each};" for name, each in sorted(ranges.items()))
    digest = hashlib.sha256(f"{bundle.manifest.files[MODEL]}{told}".encode()).hexdigest()
    # Engines of another model or for other shapes are not to be taken for these.
    prefix = f"{model.name}-{digest[:16]}"
    return replace(known, samples=inside, ranges=ranges, cache_prefix=prefix)


def _ranges(bundle: Bundle, model: ModelSpec, shapes: Sequence[str]) -> Mapping[str, Range]:
    from nd_deploy.runtime.tensorrt.profile import parse_batch, parse_shape
    from nd_deploy.runtime.tensorrt.shapes import make_profiles

    for port in model.inputs:
        if set(port.name) & set(_SEPARATORS):
            raise InputError(
                f"input '{port.name}' has a sign that separates shapes in ONNX Runtime's options",
                f"convert the network with another name, or choose another --accelerator than "
                f"{TENSORRT}",
            )
    batches = []
    if model.max_batch:
        batches = [parse_batch(f"1:{max(1, model.max_batch // 4)}:{model.max_batch}")]
    try:
        profiles = make_profiles(bundle.manifest.inputs, batches, list(map(parse_shape, shapes)))
    except InputError as error:
        # Here the batch comes from another flag.
        raise InputError(error.problem.replace("--batch", "--max-batch"), error.remedy) from error
    return dict(profiles[0].shapes) if profiles else {}


def _extra_files(export: _Export, compose: bool, kserve: bool, storage: str) -> dict[str, str]:
    resources = server.resources(export.hosting, export.bytes)
    portable = export.plan is not None and export.plan.portable_version
    common = (export.model, export.hosting, export.image, resources)
    texts = {}
    if compose:
        texts[COMPOSE] = compose_file(*common, portable_version=portable)
    if kserve:
        texts[KSERVE] = kserve_file(*common, storage, portable_version=portable)
    return texts


def _write(folder: Path, export: _Export, texts: Mapping[str, str]) -> None:
    model = folder / export.model.name
    version = model / VERSION
    version.mkdir(parents=True)
    for path, name in export.sources:
        shutil.copyfile(path, version / name)
    config = pbtxt.dumps(configuration(export.model, export.hosting))
    (model / CONFIG).write_text(config, encoding="utf-8")
    if export.model.labels:
        labels = "".join(f"{label}\n" for label in export.model.labels)
        (model / LABELS).write_text(labels, encoding="utf-8")
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    write_record(folder, export.bundle, _facts(export))
    findings = check_repository(folder, export.release)
    if findings:
        raise InputError(
            f"Triton would not serve {export.bundle.path} as it is meant: "
            + "; ".join(map(str, findings)),
            "convert the network again, or choose another --accelerator or --image",
        )


def _facts(export: _Export) -> dict[str, Any]:
    hosting, plan = export.hosting, export.plan
    facts: dict[str, Any] = {
        "model": export.model.name,
        "accelerator": hosting.accelerator,
        "max_batch": export.model.max_batch,
        "image": export.image,
        "triton": export.release.name,
        "onnxruntime": export.release.onnxruntime,
        "tf32": hosting.tf32,
        "profile": {name: str(each) for name, each in hosting.ranges.items()},
    }
    if plan is not None:
        facts["engine"] = plan.key.as_dict() | {"sha256": plan.engine.sha256}
    return facts


def _external_data(bundle: Bundle) -> set[str]:
    from nd_deploy.bundle import onnx_file

    return onnx_file.references_in(bundle.model_path)
