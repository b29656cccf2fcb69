"""Latency of a folded ND network over its batch-normalised twin, in ONNX Runtime on one CPU thread.

The networks are timed in turns in one process, so that drift hits all alike; the ratio is the
median over the rounds, with a 95 % bootstrap interval. The naive export, which is what
torch.onnx.export makes of the ND network today, is timed in the same rounds.

    python tools/bench_fold.py [--rounds 40] [NETWORK ...]
"""

from __future__ import annotations

import argparse
import logging
import platform
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from bench_convert import settled
from timing import interleave

import nd_deploy
from nd_deploy import models

NETWORKS = ("vgg16", "resnet18", "mobilenet_v2")
BATCHES = (1, 8)
LOADS = 5


def main() -> None:
    """Print the environment and one table row a network and batch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    print(
        f"{processor()}, ONNX Runtime {onnxruntime.__version__}, torch {torch.__version__}, "
        f"one thread, {arguments.rounds} rounds\n"
    )
    print("| network | batch | BN twin, ms | folded / twin | naive / twin | twin again / twin |")
    print("|---|---|---|---|---|---|")
    files = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.networks:
            paths = export_all(name, Path(folder))
            sessions = {what: session(path) for what, path in paths.items()}
            # How far two sessions of one and the same file differ.
            sessions["again"] = session(paths["twin"])
            for batch in BATCHES:
                print(row(name, batch, sessions, arguments.rounds), flush=True)
            files.append((name, paths, load_times(paths)))
        print("\n| network | | folded | naive |\n|---|---|---|---|")
        for name, paths, loads in files:
            sizes = {what: path.stat().st_size / 1e6 for what, path in paths.items()}
            print(f"| {name} | file, MB | {sizes['folded']:.1f} | {sizes['naive']:.1f} |")
            print(f"| | load, ms | {loads['folded'] * 1e3:.0f} | {loads['naive'] * 1e3:.0f} |")


def export_all(name: str, folder: Path) -> dict[str, Path]:
    """The folded, the naive and the batch-normalised model of a network, as files."""
    torch.manual_seed(0)
    x = torch.randn(2, *models.describe(name).input_shape)
    network = settled(models.build(name))
    twin = settled(models.build(name, norm="bn"))
    folded = nd_deploy.run_passes(nd_deploy.export(network, x)).model
    paths = {what: folder / f"{name}-{what}.onnx" for what in ("folded", "naive", "twin")}
    onnx.save(folded, paths["folded"])
    for what, module in (("naive", network), ("twin", twin)):
        torch.onnx.export(
            module,
            (x,),
            paths[what],
            input_names=["input"],
            dynamic_shapes=({0: "batch"},),
            external_data=False,
            verbose=False,
        )
    return paths


def session(path: Path) -> onnxruntime.InferenceSession:
    """A session on one thread, everything else as it comes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def row(
    name: str, batch: int, sessions: dict[str, onnxruntime.InferenceSession], rounds: int
) -> str:
    """Time the models in turns, and format the ratios."""
    shape = (batch, *models.describe(name).input_shape)
    feeds = {"input": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
    timings = interleave(
        {what: lambda s=s: s.run(None, feeds) for what, s in sessions.items()},
        rounds,
        block_seconds=0.1,
    )
    ratios = [
        "{:.3f} [{:.3f}, {:.3f}]".format(*timings.ratio(what, over="twin"))
        for what in ("folded", "naive", "again")
    ]
    cells = (name, str(batch), f"{timings.median('twin') * 1e3:.2f}", *ratios)
    return f"| {' | '.join(cells)} |"


def load_times(paths: dict[str, Path]) -> dict[str, float]:
    """The quickest of a few session creations from each file, in turns."""
    times: dict[str, list[float]] = {what: [] for what in paths}
    for _ in range(LOADS):
        for what, path in paths.items():
            start = time.perf_counter()
            session(path)
            times[what].append(time.perf_counter() - start)
    return {what: min(seconds) for what, seconds in times.items()}


def processor() -> str:
    """The processor's name, where the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
