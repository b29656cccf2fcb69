"""How far the profiler can be trusted: what it adds to a time, and whether it says the same twice.

The first part times calls whose time is known: one that does nothing, one that waits for a
millisecond by the clock, and a model of one Identity in ONNX Runtime, against a bare loop over the
same calls, in turns. The second measures one comparison several times in processes of their own,
and counts the pairs of measurements whose intervals of the ratio have no point in common.

    python tools/bench_profiler.py [--runs 8] [--bundle FOLDER --against naive]
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import parser

from nd_deploy.profiling.subjects.host import HostSubject
from nd_deploy.profiling.turns import take_turn
from nd_deploy.runtime.base import Receipt
from nd_deploy.runtime.onnxruntime import OnnxRuntimeRunner

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINT = ROOT / "models/checkpoints/digits.pth.tar"
MILLISECOND = 1_000_000
IDENTITY = """
<ir_version: 8, opset_import: ["": 17]>
null (float[1] x) => (float[1] y) { y = Identity (x) }
"""
ROUNDS, ITERATIONS = 40, 2000


def main() -> None:
    """Print both parts."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--runs", type=int, default=8, help="of the comparison")
    arguments.add_argument("--bundle", help="a bundle; without one, the demo's network")
    arguments.add_argument("--against", default="naive")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        show_overhead(Path(folder))
        bundle = given.bundle or convert_demo(Path(folder))
        show_agreement(bundle, given.against, given.runs, Path(folder))


def show_overhead(folder: Path) -> None:
    """Print what the profiler says of known times, and how far that is off."""
    print("| call | bare loop, us | profiler, us | added, us | of 1 ms |\n|---|---|---|---|---|")
    for name, call, iterations in (
        ("nothing", do_nothing, 100 * ITERATIONS),
        ("wait 1 ms", wait_a_millisecond, ITERATIONS // 100),
        ("Identity in ONNX Runtime", null_model(folder), ITERATIONS),
    ):
        bare, profiled = compared(call, iterations)
        added = (profiled - bare) * 1e6
        print(
            f"| {name} | {bare * 1e6:.3f} | {profiled * 1e6:.3f} | {added:.3f} "
            f"| {added / 1e3:.4%} |"
        )


def compared(call: Callable[[], object], iterations: int) -> tuple[float, float]:
    """Seconds a call, in a loop of nothing else and as the profiler takes them, in turns."""
    receipt = Receipt("none", "0", (), ())
    subject = HostSubject(call, lambda _: {}, receipt, time.perf_counter_ns, 0)
    bare, profiled = [], []
    for _ in range(ROUNDS):
        start = time.perf_counter_ns()
        for _ in range(iterations):
            call()
        bare.append((time.perf_counter_ns() - start) / iterations * 1e-9)
        profiled.append(float(np.mean(take_turn(subject, iterations)["latency"])))
    return float(np.median(bare)), float(np.median(profiled))


def do_nothing() -> None:
    """Return at once."""


def wait_a_millisecond() -> None:
    """Return after a millisecond by the clock."""
    end = time.perf_counter_ns() + MILLISECOND
    while time.perf_counter_ns() < end:
        pass


def null_model(folder: Path) -> Callable[[], object]:
    """What runs a model that computes nothing."""
    path = folder / "null.onnx"
    onnx.save(parser.parse_model(IDENTITY), path)
    return OnnxRuntimeRunner(path, threads=1).bound_run({"x": np.zeros(1, np.float32)})


def convert_demo(folder: Path) -> str:
    """Make a bundle of the demo's trained network."""
    nd_deploy("convert", "digits", "--checkpoint", str(CHECKPOINT), "-o", str(folder / "digits"))
    return str(folder / "digits")


def show_agreement(bundle: str, against: str, runs: int, folder: Path) -> None:
    """Measure the same comparison several times, and print how the ratios agree."""
    found = [measured(bundle, against, folder / f"{run}.json") for run in range(runs)]
    print("\n| row | ratio in each run | pairs apart |\n|---|---|---|")
    for name in found[0]:
        ratios = [run[name] for run in found]
        pairs = list(itertools.combinations(ratios, 2))
        apart = sum(a["high"] < b["low"] or b["high"] < a["low"] for a, b in pairs)
        cells = ", ".join(f"{r['estimate']:.3f} [{r['low']:.3f}, {r['high']:.3f}]" for r in ratios)
        print(f"| {name} | {cells} | {apart} of {len(pairs)} |")


def measured(bundle: str, against: str, path: Path) -> dict[str, dict[str, float]]:
    """The ratios of one measurement, by row."""
    nd_deploy(
        "profile", bundle, "--against", against, "--batch", "1,8", "--threads", "1", "--no-peaks",
        "--export", str(path),
    )  # fmt: skip
    rows = json.loads(path.read_text())["rows"]
    return {
        f"{row['contestant']['model']}, batch {row['contestant']['batch']}": row["ratio"]
        for row in rows
        if row["ratio"] is not None
    }


def nd_deploy(*arguments: str) -> None:
    """Run a command as a user would."""
    command = [sys.executable, "-m", "nd_deploy", *arguments]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)


if __name__ == "__main__":
    main()
