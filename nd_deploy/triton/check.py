"""A model repository, checked without a Triton."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nd_deploy.bundle.files import sha256
from nd_deploy.errors import InputError
from nd_deploy.triton import pbtxt
from nd_deploy.triton.accelerators import FILES
from nd_deploy.triton.compose import COMPOSE
from nd_deploy.triton.graph_rules import model_problems
from nd_deploy.triton.kserve import KSERVE
from nd_deploy.triton.pbtxt import Message, many, one
from nd_deploy.triton.record import RECORD, read_record
from nd_deploy.triton.releases import PINNED, RELEASES, Release
from nd_deploy.triton.rules import Problem, backend_of, config_problems

CONFIG = "config.pbtxt"

# What an operator fits to a host; the rest decides what is computed.
_TUNED = (CONFIG, COMPOSE, KSERVE)


@dataclass(frozen=True)
class Finding:
    """Something in a repository that Triton refuses, or serves otherwise than meant.

    Attributes:
        place: the model's folder, or a file of the repository.
        problem: what is wrong, naming the field.
        reason: why it is wrong.
    """

    place: str
    problem: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}: {self.reason}"


def check_repository(folder: Path | str, release: Release = RELEASES[PINNED]) -> list[Finding]:
    """Check every model of a repository as Triton does when it starts, and against its ONNX file.

    Args:
        folder: of the repository; its folders are models, and its files are not Triton's.
        release: of Triton that is to serve it.

    Returns:
        What is wrong; empty if nothing is.

    Raises:
        InputError: there is no such folder, or its record is malformed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        kind = "is a file" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {kind}", "name the folder that 'nd-deploy export-triton' wrote")
    models = sorted(path for path in folder.iterdir() if path.is_dir())
    findings = [
        Finding(model.name, *problem) for model in models for problem in _problems(model, release)
    ]
    if not models:
        findings.append(Finding(str(folder), "there is no model", "each is a folder of its own"))
    if (folder / RECORD).exists():
        findings.extend(_changes(folder))
    return findings


def _problems(model: Path, release: Release) -> Iterator[Problem]:
    try:
        config = pbtxt.loads((model / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        yield Problem(f"{CONFIG} cannot be read", str(error))
        return
    yield from config_problems(config, model.name)
    yield from _label_problems(config, model)
    backend = backend_of(config)
    name = one(config, "default_model_filename", "") or FILES.get(backend, "")
    versions = [path for path in model.iterdir() if path.is_dir() and path.name.isdecimal()]
    if not versions:
        yield Problem("there is no version", "each is a folder whose name is a number")
    for version in versions:
        path = version / name
        if name and not path.is_file():
            yield Problem(f"version {version.name} has no {name}", f"backend {backend} loads it")
        elif backend == "onnxruntime":
            yield from model_problems(config, path, release)


def _label_problems(config: Message, model: Path) -> Iterator[Problem]:
    for port in many(config, "output", dict):
        name, dims = one(port, "label_filename", ""), many(port, "dims", int)
        if not name:
            continue
        try:
            labels = (model / name).read_text(encoding="utf-8").removesuffix("\n").split("\n")
        except (OSError, ValueError) as error:
            yield Problem(f"{name} cannot be read", str(error))
            continue
        if -1 not in dims and math.prod(dims) != len(labels):
            yield Problem(
                f"{name} has {len(labels)} labels",
                f"output '{one(port, 'name', '')}' has dims {dims}, and each value is a class",
            )


def _changes(folder: Path) -> Iterator[Finding]:
    for name, expected in read_record(folder)["files"].items():
        path = folder / name
        if path.name in _TUNED and path.is_file():
            continue
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            yield Finding(name, "is missing", f"{RECORD} lists it")
        elif sha256(path) != expected:
            yield Finding(name, "has changed", f"{RECORD} has another hash of it")
