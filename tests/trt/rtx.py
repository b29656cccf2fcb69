"""Hands models to TensorRT-RTX's parser and builder, which need no GPU."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import onnx
import pytest

from nd_deploy.compat import trt

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed"
)
_CHILD = Path(__file__).with_name("rtx_child.py")


@dataclass
class Job:
    """A model to parse, and to build if shapes are given; {} for a model without open axes."""

    model: onnx.ModelProto
    shapes: dict | None = None
    override: bool = False
    embed: bool = False


@dataclass
class Outcome:
    """What became of a job.

    Attributes:
        errors: the parser's and builder's; none if all went well.
        layers: their types, in order.
        plugins: (name, version, namespace) of the layers that are plugins.
        types: of the layers' first outputs.
        bytes: of the engine; 0 if none was built.
    """

    errors: list
    layers: list
    plugins: list = field(default_factory=list)
    types: list = field(default_factory=list)
    bytes: int = 0

    @property
    def path(self):
        """Which way the one ND node of a model went."""
        if self.errors:
            return "refused"
        return "plugin" if self.plugins else "body"


def run(jobs, twins=(), libraries=()):
    """Work through jobs in one child process.

    Args:
        jobs: a Job each.
        twins: namespaces to register the Python plugins in.
        libraries: plugin libraries to load.
    """
    with tempfile.TemporaryDirectory() as folder, trt.linkable(trt.RTX) as variables:
        written = [_write(job, Path(folder) / f"{index}.onnx") for index, job in enumerate(jobs)]
        request = Path(folder) / "request.json"
        fields = {"jobs": written, "twins": list(twins), "libraries": list(map(str, libraries))}
        request.write_text(json.dumps(fields))
        done = subprocess.run(
            [sys.executable, _CHILD, request],
            env=os.environ | variables,
            capture_output=True,
            text=True,
            check=False,
        )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    ended = f"ended with {done.returncode} in job {len(lines)} of {len(jobs)}"
    assert done.returncode == 0, f"{ended}:\n{done.stderr}"
    return [Outcome(**line) for line in lines]


def _write(job, path):
    onnx.save(job.model, path)
    return {
        "model": str(path),
        "build": job.shapes is not None,
        "shapes": job.shapes or {},
        "override": job.override,
        "embed": job.embed,
    }
