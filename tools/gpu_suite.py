"""Builds, checks and times everything that needs an NVIDIA GPU, in one command.

    python tools/gpu_suite.py

It installs nothing: a part that lacks something says what installs it, and the others run. Each
part is a process of its own. After each, the results are written as JSON and as a page; without a
GPU nothing is written.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from gpu.checkout import ROOT, importable
from gpu.children import PATIENCE_S, run_in_child
from gpu.device import facts
from gpu.page import summary
from gpu.part_sanitizer import SMALL_ERRORS
from gpu.parts import INSTALL, NOT_RUN, RAN, Part, Settings, run_here, settings_from
from gpu.report import DEVICE, RESULTS, Journal, exit_code, measured, with_libraries
from gpu.verdicts import judge

PAGE = ROOT / "docs" / "gpu-results.md"
FOLDER = ROOT / "out" / "gpu"
# In this order: what is built first is used by those behind.
PARTS = {
    DEVICE: "what this machine has; always run, and nothing else without a GPU",
    "launchers": "build the kernels with nvcc alone, without TensorRT's headers",
    "plugin": "build the plugin library with CMake and TensorRT's headers, load it everywhere",
    "errors": "every kernel and type against PyTorch in float64, beside PyTorch's own errors",
    "sanitizer": "kernels and enqueue under compute-sanitizer's tools",
    "tests": "the tests that are marked gpu, those that drive enqueue among them",
    "rtx": "whether TensorRT-RTX takes this GPU",
    "engines": "engines of every kind: body, 1x1 Conv, plugin, statistics of the batch",
    "bundles": "convert networks, and verify the bundles by every runtime",
    "frozen": "time the frozen ChannelDeconv: plugin, cuDNN's 1x1 convolution, body, a copy",
    "dynamic": "time layers by the statistics of the batch: plugin, body, PyTorch's eager forward",
    "hosts": "time engines: plugin, TensorRT's own 1x1 convolution, body; ONNX Runtime's CUDA",
}
# Module and function; those that run inside another part as well.
_HOMES = {name: (f"gpu.part_{name}", "run") for name in PARTS} | {
    SMALL_ERRORS: ("gpu.part_errors", "run_small")
}
_EPILOG = f"""\
parts, in the order in which they run:
{chr(10).join(f"  {name:10} {text}" for name, text in PARTS.items())}

TensorRT's headers are looked for in --headers, then in TENSORRT_INCLUDE_DIR, then in /usr/include.
Without them the kernels are checked and timed through their plain C functions. nd_deploy need not
be installed; PyTorch has to be, and all of it comes with
  {INSTALL}

Runs of some parts each add up: the results of parts that are not run again are kept, as long as
GPU, driver, versions and sources are the same, and so are the libraries that were built. So where a
command may not take long:
  python tools/gpu_suite.py --quick --limit 540
  python tools/gpu_suite.py --parts errors,frozen,dynamic --limit 540

exit code: 0 all parts asked for ran and found nothing wrong; 1 one failed; 3 none failed, but some
could not be run, with the reason in the list. A target that is missed is a result and no failure.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite; see `--help` for what it returns."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    asked = parse(given)
    with importable():
        if asked.child:
            name, settings, file = asked.child
            part = run_part(name, settings_from(settings))
            Path(file).write_text(json.dumps(part.as_dict()))
            return 0
        return run(asked, shlex.join(["python", "tools/gpu_suite.py", *given]))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    say = parser.add_argument
    say("--parts", type=_names, default=list(PARTS), help="which to run, joined by commas")
    say("--quick", action="store_true", help="fewer shapes and rounds; verdicts say so")
    say("--limit", type=float, metavar="S", help="seconds that all may take")
    say("--headers", metavar="FOLDER", help="TensorRT's headers")
    say("--library", metavar="FILE", help="a plugin library to use instead of building one")
    say("--folder", type=Path, default=FOLDER, help=f"for {RESULTS} and libraries (out/gpu)")
    say("--page", type=Path, default=PAGE, help="the page (docs/gpu-results.md)")
    say("--child", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _names(text: str) -> list[str]:
    asked = [name.strip() for name in text.split(",")]
    unknown = [name for name in asked if name not in PARTS]
    if unknown:
        known = ", ".join(PARTS)
        raise argparse.ArgumentTypeError(f"there is no part {', '.join(unknown)}; parts: {known}")
    return [name for name in PARTS if name in asked]


def run(asked: argparse.Namespace, command: str) -> int:
    """Run what was asked for, and say what became of it."""
    # Engines are measured that this run builds, and not left among the user's.
    os.environ.setdefault("ND_DEPLOY_CACHE", str(asked.folder.absolute() / "cache"))
    journal = Journal(asked.folder, asked.page, command, facts(), list(PARTS))
    settings = Settings(
        quick=asked.quick,
        library=_absolute(asked.library),
        headers=_absolute(asked.headers),
        folder=str(asked.folder.absolute()),
    )
    for part in run_all(asked.parts, settings, journal, asked.limit):
        print(f"{part.name}: {part.status} {part.reason}", file=sys.stderr, flush=True)
        journal.add(part, asked.quick)
    verdicts = judge(journal.parts) if measured(journal.run) else []
    print(summary(journal.run, verdicts))
    return exit_code([part for part in journal.run if part.name in asked.parts])


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).absolute())


def run_all(
    names: Sequence[str], settings: Settings, journal: Journal, limit: float | None = None
) -> Iterator[Part]:
    """Run parts one after another, each in a process of its own.

    Args:
        names: of the parts; the one that looks at the device comes first in any case.
        settings: of the suite.
        journal: which knows what earlier parts have built.
        limit: seconds that all of it may take.
    """
    end = None if limit is None else time.monotonic() + limit
    device = run_in_child(DEVICE, settings, Path(__file__))
    yield device
    for name in names:
        left = PATIENCE_S if end is None else end - time.monotonic()
        if name == DEVICE:
            continue
        if device.status != RAN:
            yield Part(name, NOT_RUN, device.reason)
        elif left <= 0:
            yield Part(name, NOT_RUN, f"the {limit:.0f} s of --limit were over")
        else:
            yield run_in_child(
                name, with_libraries(settings, journal.parts), Path(__file__), min(left, PATIENCE_S)
            )


def run_part(name: str, settings: Settings) -> Part:
    """Run one part in this process."""
    module, function = _HOMES[name]
    return run_here(name, lambda: getattr(importlib.import_module(module), function), settings)


if __name__ == "__main__":
    sys.exit(main())
