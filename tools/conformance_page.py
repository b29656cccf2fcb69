"""What the networks became, as a page."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnx
import onnxruntime
import torch

# What has to hold of every network, and of the median of them.
FOLD_LIMIT = 1e-10
STORAGE_LIMIT = 2.0
STORAGE_MEDIAN = 0.6
MEMORY_LIMIT = 4e9
LOWERED = {("densenet121_imagenet", "channel_deconv", "features.norm5")}


@dataclass(frozen=True)
class Row:
    """What became of one network.

    Attributes:
        network: its name.
        head: the option, or "-" where it has none.
        shape: of one input.
        nd_layers: how many ND layers it has.
        actions: how many layers ended up in each way.
        lowered: the layers that became a 1x1 convolution, or stayed.
        fold: error of the fold gate.
        storage: error of the storage gate.
        torch: error of PyTorch's own float32 forward against its float64 one.
        backend: error of the backend gate.
        top1: share of inputs whose largest output is PyTorch's; None for maps.
        nodes: op types that are left, with how many of each.
        bytes: size of the model file.
        train_seconds: training and settling.
        convert_seconds: the conversion.
        peak_bytes: most memory of the process.
    """

    network: str
    head: str
    shape: tuple[int, ...]
    nd_layers: int
    actions: dict[str, int]
    lowered: list[str]
    fold: float
    storage: float
    torch: float
    backend: float
    top1: float | None
    nodes: dict[str, int]
    bytes: int
    train_seconds: float
    convert_seconds: float
    peak_bytes: int

    @property
    def ratio(self) -> float:
        """The storage gate's error over PyTorch's own."""
        return self.storage / self.torch

    def shortfalls(self) -> list[str]:
        """What does not hold, in words."""
        unexpected = [
            layer for layer in self.lowered if (self.network, self.head, layer) not in LOWERED
        ]
        checks = {
            f"fold gate {self.fold:.1e}": self.fold <= FOLD_LIMIT,
            f"storage gate at {self.ratio:.2f} of PyTorch's error": self.ratio <= STORAGE_LIMIT,
            f"not folded: {', '.join(unexpected)}": not unexpected,
            f"peak memory {self.peak_bytes / 1e9:.1f} GB": self.peak_bytes < MEMORY_LIMIT,
        }
        return [what for what, holds in checks.items() if not holds]


def median(rows: list[Row]) -> float:
    """The median over the networks of the storage gate's error over PyTorch's."""
    return float(np.median([row.ratio for row in rows])) if rows else float("nan")


def render(
    rows: list[Row], failures: list[str], steps: int, small_steps: int, seconds: float
) -> str:
    """The page.

    Args:
        rows: of the networks that were converted.
        failures: what the others said.
        steps: how long each was trained.
        small_steps: how long the two smallest were.
        seconds: how long all of it took.
    """
    lines = [
        "# Conformance",
        "",
        f"Every network of `nd_deploy.models`, trained for {steps} steps (the two smallest for "
        f"{small_steps}) on random crops of scikit-image's photographs, then converted. Written by "
        "`python tools/conformance.py --out docs/conformance.md` on "
        f"{time.strftime('%Y-%m-%d')} in {seconds / 60:.0f} minutes ({_machine()}).",
        "",
        *_verdict(rows, failures),
        "",
        f"| {' | '.join(_COLUMNS)} |",
        f"|{'---|' * len(_COLUMNS)}",
        *(f"| {' | '.join(cells(row))} |" for row in rows),
        "",
        *_LEGEND,
        "",
    ]
    return "\n".join(lines)


def _machine() -> str:
    versions = {
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "ONNX Runtime": onnxruntime.__version__,
        "numpy": np.__version__,
    }
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{platform.machine()}, {torch.get_num_threads()} threads; {named}"


def _verdict(rows: list[Row], failures: list[str]) -> list[str]:
    short = [f"{row.network} {row.head}: {what}" for row in rows for what in row.shortfalls()]
    lines = [f"* {len(rows)} conversions, {len(failures)} failures."]
    if rows:
        ratios = [row.ratio for row in rows]
        peak = max(rows, key=lambda row: row.peak_bytes)
        lines += [
            f"* Gate 1, folded against PyTorch in float64: {max(row.fold for row in rows):.0e} at "
            f"most (limit {FOLD_LIMIT:.0e}).",
            "* Gate 2, the stored weights against PyTorch's own float32 error: "
            f"{max(ratios):.2f} at most (limit {STORAGE_LIMIT:g}), {median(rows):.2f} in the "
            f"median (limit {STORAGE_MEDIAN:g}).",
            f"* Peak memory, training included: {peak.peak_bytes / 1e9:.2f} GB ({peak.network}).",
        ]
    if not any("not folded" in line for line in short):
        lines.append(
            "* Every layer folds, but `features.norm5` of ImageNet's DenseNet-121 with its "
            "ChannelDeconv: between a concatenation and a ReLU, it becomes a 1x1 Conv."
        )
    return [*lines, *(f"* **{line}**" for line in (*failures, *short))]


_COLUMNS = (
    "network", "head", "input", "ND layers", "decisions", "gate 1, fold", "gate 2, storage",
    "PyTorch's float32", "ratio", "gate 3, backend", "top-1", "nodes left", "file, MB",
    "train, s", "convert, s", "peak, MB",
)  # fmt: skip
_LEGEND = (
    "Errors are max|y - truth| / max|truth|, truth being PyTorch's float64 forward; ratio is",
    "gate 2 over PyTorch's own float32 error. Weights that were hardly trained amplify rounding",
    "through a hundred layers, which is why both are large there. Inputs of networks made for",
    "larger images are cut to 64 pixels, which changes no layer. A head of - is part of the",
    "network.",
)


def cells(row: Row) -> tuple[str, ...]:
    """One row of the table."""
    common = ("Conv", "Gemm", "ConvTranspose")
    nodes = [f"{row.nodes[op]} {op}" for op in common if op in row.nodes]
    others = sum(row.nodes.values()) - sum(row.nodes.get(op, 0) for op in common)
    return (
        row.network,
        row.head,
        "x".join(map(str, row.shape)),
        str(row.nd_layers),
        ", ".join(f"{count} {action}" for action, count in row.actions.items()),
        f"{row.fold:.1e}",
        f"{row.storage:.1e}",
        f"{row.torch:.1e}",
        f"{row.ratio:.2f}",
        f"{row.backend:.1e}",
        "-" if row.top1 is None else f"{row.top1:.0%}",
        ", ".join([*nodes, f"{others} other"]),
        f"{row.bytes / 1e6:.1f}",
        f"{row.train_seconds:.0f}",
        f"{row.convert_seconds:.0f}",
        f"{row.peak_bytes / 1e6:.0f}",
    )
