"""Bundles of a tiny model to serve, and what its outputs are by numpy."""

import hashlib
import json

import numpy as np
from tiny_bundle import decisions, model

from nd_deploy.bundle import write_bundle
from nd_deploy.parity.report import Gate, ParityReport

SHAPE = (1, 2, 2)


def images(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, *SHAPE)).astype(np.float32)


def scores(x, factor=1.0):
    """The model's outputs: the sum of the pixels times 1, 2 and -1, in the dtype of x."""
    total = x.reshape(len(x), -1).sum(axis=1, keepdims=True)
    return total * np.array([1, 2, -1], x.dtype) * x.dtype.type(factor)


def reference(samples=4, factor=1.0):
    x = images(samples)
    return {
        "input/image": x,
        "float64/0": scores(x.astype(np.float64), factor),
        "float32/0": scores(x, factor),
    }


def scaled(factor, batch="batch"):
    """The model with its weights times a factor, by which one version is told from another."""
    proto = model(batch)
    weight = proto.graph.initializer[0]
    values = np.frombuffer(weight.raw_data, np.float32) * np.float32(factor)
    weight.raw_data = values.tobytes()
    return proto


def write(folder, factor=1.0, batch="batch", **changes):
    """A bundle of the model, with whatever is to differ."""
    arguments = {
        "model": scaled(factor, batch),
        "network": "tiny",
        "decisions": decisions(),
        "warnings": [],
        "parity": ParityReport([Gate("backend", "a with b", 1e-7, 1e-6, "16 roundings")], 1.0, 4),
        "reference": reference(factor=factor),
        "labels": ("cat", "dog", "bird"),
    }
    return write_bundle(folder, **(arguments | changes)).path


def rewrite_hash(path):
    """Have the manifest say that a file is as it is now."""
    manifest = path.with_name("manifest.json")
    fields = json.loads(manifest.read_text())
    fields["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(fields))


def edit_manifest(folder, **changes):
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | changes))
