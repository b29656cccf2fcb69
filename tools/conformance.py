"""Converts every network of nd_deploy.models and writes down what became of it.

Each network is trained for some steps on crops of photographs, so that its statistics are like
those of training, and converted, gates and all, with each of its whitened heads. Every network is a
process of its own, whose peak memory is part of the result.

    python tools/conformance.py --out docs/conformance.md
    python tools/conformance.py resnet18 densenet121_imagenet
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from conformance_page import STORAGE_MEDIAN, Row, median, render
from photographs import crops
from quick_training import follow, train
from torch import nn

import nd_deploy
from nd_deploy import models
from nd_deploy.parity.reference import Reference

# At which networks made for larger images train in seconds on two cores.
LARGEST_SIDE = 64
STEPS = 8
# The sigmoids of the MLP hardly move in a few steps, and it costs nothing to train.
SMALL_STEPS = 100


def heads(name: str) -> list[str]:
    """The options for the head of a network that hold an ND layer."""
    options = models.describe(name).options
    return ["channel_deconv", "delinear"] if "head" in options else ["-"]


def examine(name: str, seed: int = 0) -> Iterator[Row]:
    """Build, train and convert one network in this process, once with each of its heads.

    The second head is put on the trained network of the first.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    info = models.describe(name)
    channels, height, width = info.input_shape
    shape = (channels, min(height, LARGEST_SIDE), min(width, LARGEST_SIDE))
    batch, steps = (16, SMALL_STEPS) if height < 32 else (16 if height == 32 else 8, STEPS)
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    trained: dict[str, torch.Tensor] = {}
    for head in heads(name):
        start = time.perf_counter()
        network = models.build(name, **_options(name, head))
        if trained:
            _take_over(network, trained)
            follow(network, shape, batch, generator, 1.0)
        else:
            train(network, shape, batch, steps, generator)
        # One network in memory at a time: that of a user who converts.
        trained = {} if trained else network.state_dict()
        seconds = time.perf_counter() - start
        x, _ = crops(batch // 2, shape, generator)
        yield _convert(name, head, network.eval(), x, seconds)


def _take_over(network: nn.Module, trained: dict[str, torch.Tensor]) -> None:
    """Give a network what it shares with a trained one."""
    known = network.state_dict()
    shared = {
        key: value
        for key, value in trained.items()
        if key in known and known[key].shape == value.shape
    }
    network.load_state_dict(shared, strict=False)


def _options(name: str, head: str) -> dict[str, Any]:
    """The head, and statistics of every patch: there are few in so small a batch."""
    options = {} if head == "-" else {"head": head}
    known = models.describe(name).options
    return {**options, "sampling_stride": 1} if "sampling_stride" in known else options


def _convert(
    name: str, head: str, network: nn.Module, x: torch.Tensor, train_seconds: float
) -> Row:
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        bundle = nd_deploy.convert(network, x, Path(folder) / "bundle", network=name)
        seconds = time.perf_counter() - start
        size = bundle.model_path.stat().st_size
        reference = Reference.from_arrays(bundle.reference())
    gates = {gate.name: gate.error for gate in bundle.parity.gates}
    nd = [d for d in bundle.decisions if d["op_type"].startswith("ND")]
    return Row(
        name,
        head,
        tuple(x.shape[1:]),
        bundle.manifest.nd_layers,
        dict(Counter(decision["action"] for decision in nd)),
        [d["layer"] for d in nd if d["action"] not in ("folded", "forward", "backward")],
        gates["fold"],
        gates["storage"],
        reference.torch_error,
        gates["backend"],
        bundle.parity.top1_agreement,
        dict(bundle.manifest.nodes_left),
        size,
        train_seconds,
        seconds,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def main() -> None:
    """Examine networks one process at a time, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", help="default: all")
    parser.add_argument("--out", type=Path, help="the page to write; default: print it")
    parser.add_argument("--one", metavar="NETWORK", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        for row in examine(arguments.one):
            print(json.dumps(asdict(row)), flush=True)
        return
    start = time.perf_counter()
    rows: list[Row] = []
    failures: list[str] = []
    for name in arguments.networks or models.names():
        converted, failure = in_a_process(name)
        rows += converted
        failures += failure
        for line in (*map(summary, converted), *failure):
            print(line, file=sys.stderr, flush=True)
    page = render(rows, failures, STEPS, SMALL_STEPS, time.perf_counter() - start)
    if arguments.out:
        arguments.out.write_text(page, encoding="utf-8")
    else:
        print(page)
    if failures or any(row.shortfalls() for row in rows) or median(rows) > STORAGE_MEDIAN:
        sys.exit(1)


def in_a_process(name: str) -> tuple[list[Row], list[str]]:
    """Examine one network in its own process; beside the rows, what it said where it failed."""
    command = [sys.executable, __file__, "--one", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    rows = [Row(**{**fields, "shape": tuple(fields["shape"])}) for fields in lines]
    if not done.returncode:
        return rows, []
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return rows, [f"{name} {heads(name)[len(rows)]} FAILED: {last}"]


def summary(row: Row) -> str:
    """One line for the terminal."""
    seconds = f"{row.train_seconds:.0f} + {row.convert_seconds:.0f} s"
    errors = f"gates {row.fold:.0e} {row.ratio:.2f}x {row.backend:.0e}"
    return f"{row.network} {row.head}: " + "; ".join([seconds, errors, *row.shortfalls()])


if __name__ == "__main__":
    main()
