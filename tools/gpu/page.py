"""The results as docs/gpu-results.md, and as what the terminal shows at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gpu.parts import Part
from gpu.tables import TITLES, details, table
from gpu.verdicts import Verdict

Report = dict[str, Any]

HOW = """\
Figures are from one GPU with nothing else on it. Contestants run in turns, in both orders, after
some turns that are not counted; a time is the median over the turns, in microseconds, by CUDA
events, of runs that go round so many buffers that no cache holds what is read. What is called
"launched", and PyTorch's eager forward, are called from Python; everything else is replayed as CUDA
graphs.

TF32 is off in PyTorch in every comparison, but for the column that names it: float32 means float32
arithmetic. "conv" is cuDNN's 1x1 convolution of the dense matrix, its fastest algorithm as
cudnn.benchmark finds it, with NCHW tensors and with NHWC ones; the faster counts. "body" is the
chain of operators of the function body, in PyTorch. Rooflines are the device's data sheet: bytes
over its bandwidth or operations over its peak, whichever is longer, by what an operation cannot do
without. "Share of copy" is the rate at which x is read and y written, over that of a copy of 1 GiB
within the device's memory, bytes read and written counted in both."""


def page(report: Report) -> str:
    """The whole report as Markdown.

    Args:
        report: of `gpu.report.make`.
    """
    parts = [Part(**fields) for fields in report["parts"]]
    verdicts = [Verdict(**fields) for fields in report["verdicts"]]
    sections = [
        "# What was measured on a GPU",
        f"Written by `{report['command']}` on {report['date']}, and overwritten by its next run.",
        _machine(report["machine"]),
        "## What must be reached",
        "The figures are to be reached on an H200; of another device they say what it does.",
        table(
            ["target", "verdict", "worst", "met"],
            [[v.target, v.status, v.worst, f"{v.met} of {v.covered}"] for v in verdicts],
        ),
        "## Parts",
        table(
            ["part", "what became of it", "why", "s", "on", "by"],
            [
                [p.name, p.status, p.reason, f"{p.seconds:.0f}", p.date, f"`{p.command}`"]
                for p in parts
            ],
        ),
        "## How",
        HOW,
    ]
    for part in parts:
        found = details(part)
        if found:
            sections += [f"## {TITLES.get(part.name, part.name)}", found]
    return "\n\n".join(sections) + "\n"


def summary(parts: Sequence[Part], verdicts: Sequence[Verdict]) -> str:
    """What the terminal shows at the end."""
    lines = ["", *(f"{part.name:10} {part.status:8} {part.reason}".rstrip() for part in parts), ""]
    for verdict in verdicts:
        lines += [f"{verdict.status:17} {verdict.target}", f"{'':17} {verdict.worst}"]
    return "\n".join(lines if verdicts else [*lines, "Nothing was measured, nothing is written."])


def _machine(machine: Mapping[str, Any]) -> str:
    gpu, nvcc = machine.get("gpu"), machine.get("nvcc")
    lines = [f"Python {machine['python']}", machine["system"]]
    lines += [f"{name} {version}" for name, version in machine["versions"].items()]
    lines += [f"nvcc {nvcc}"] if nvcc else []
    lines += [f"sources {machine['sources']}"] if machine.get("sources") else []
    if gpu is None:
        return f"No NVIDIA GPU that nvidia-smi knows; {', '.join(lines)}."
    shown = ", ".join(f"{name} {value}" for name, value in gpu.items() if name != "name")
    return f"{gpu['name']} ({shown}); {', '.join(lines)}."
