"""The tables of docs/performance.md: ND networks over their batch-normalised twins.

    python tools/bench_matrix.py [--quick] [NETWORK ...]

Every network is measured in each runtime that works here, in a process of its own, with files in a
folder that is removed afterwards. What was measured is kept in --out, and the page there is written
again after each network. A run that was ended goes on where it stopped, if asked for the same.

exit code: 0 all were measured; 1 some could not be, and their lines say why; 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from matrix.measure import FULL, QUICK, measure, runtimes_of
from matrix.outcome import Outcome, Settings
from matrix.table import page

from nd_deploy import models
from nd_deploy.bundle import strict_json
from nd_deploy.cache import ENVIRONMENT
from nd_deploy.errors import NdDeployError
from nd_deploy.profiling.plan import MEASURABLE

PAGE = "matrix.md"
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for; see above for what it returns."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    asked = parse(given)
    if asked.child:
        text, file = asked.child
        settings = Settings.from_dict(json.loads(text))
        return run_here(asked.networks[0], settings, Path(file))
    settings = settings_of(asked)
    asked.out.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["python", "tools/bench_matrix.py", *given])
    outcomes: list[Outcome] = []
    code = 0
    try:
        for network in asked.networks:
            outcomes.append(outcome_of(network, settings, asked.out))
            (asked.out / PAGE).write_text(page(outcomes, command), encoding="utf-8")
    except KeyboardInterrupt:
        code = INTERRUPTED
    print(page(outcomes, command))
    return code or int(any(outcome.error for outcome in outcomes))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "networks", nargs="*", metavar="NETWORK", default=list(models.names()),
        help="names of nd_deploy.models; all without",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="few turns, to see that it works")
    parser.add_argument("--runtimes", type=_runtimes, help="such as ort-cpu,torch; else all here")
    parser.add_argument("--batches", type=_numbers, default=(1, 8), help="such as 1,8")
    parser.add_argument("--threads", type=int, default=1, help="of one operator, on the processor")
    parser.add_argument("--openings", type=int, help="how often each model is opened")
    parser.add_argument("--rounds", type=int, help="turns in an opening")
    parser.add_argument("--out", type=Path, default=Path("out/matrix"), help="where results are")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    unknown = sorted(set(asked.networks) - set(models.names()))
    if unknown:
        parser.error(
            f"no network called {', '.join(unknown)}; there are {', '.join(models.names())}"
        )
    return asked


def settings_of(asked: argparse.Namespace) -> Settings:
    """What to measure of every network."""
    method = QUICK if asked.quick else FULL
    given = {name: getattr(asked, name) for name in ("openings", "rounds")}
    method = replace(method, **{name: count for name, count in given.items() if count})
    return Settings(asked.runtimes or _runtimes_here(), asked.batches, asked.threads, method)


def outcome_of(network: str, settings: Settings, out: Path) -> Outcome:
    """What was measured of a network before, if that was the same; else what is now."""
    file = out / f"{network}.json"
    kept = read(file)
    if kept is not None and kept.error is None and kept.settings == settings:
        print(f"{network}: measured before, {file}", file=sys.stderr)
        return kept
    file.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-matrix-") as folder:
        # What the process and its own children leave behind goes with the folder.
        surroundings = {**os.environ, "TMPDIR": folder, ENVIRONMENT: folder}
        child = [network, "--child", json.dumps(settings.as_dict()), str(file)]
        command = [sys.executable, str(Path(__file__).resolve()), *child]
        done = subprocess.run(command, env=surroundings, check=False)
    outcome = read(file)
    if outcome is not None:
        return outcome
    if done.returncode == INTERRUPTED:
        raise KeyboardInterrupt
    outcome = Outcome(network, settings, error=_ended(done.returncode))
    write(outcome, file)
    return outcome


def run_here(network: str, settings: Settings, file: Path) -> int:
    """Measure a network in this process, and write what came of it, a failure too."""
    try:
        with tempfile.TemporaryDirectory(prefix=f"{network}-") as folder:
            outcome = measure(network, settings, Path(folder), _report(network))
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        # One network's failure is a line of the table, and the others are measured.
        traceback.print_exc()
        text = error.problem if isinstance(error, NdDeployError) else str(error)
        outcome = Outcome(network, settings, error=f"{type(error).__name__}: {text}")
    write(outcome, file)
    return 0


def write(outcome: Outcome, file: Path) -> None:
    """Write an outcome, whole or not at all."""
    partial = file.with_suffix(".partial")
    partial.write_text(strict_json.dumps(outcome.as_dict()), encoding="utf-8")
    partial.replace(file)


def read(file: Path) -> Outcome | None:
    """An outcome that was written; None where there is none that this version can read."""
    try:
        return Outcome.from_dict(strict_json.read(file))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _runtimes_here() -> tuple[str, ...]:
    import torch

    from nd_deploy.doctor import examine

    return runtimes_of(examine().capabilities, torch.cuda.is_available())


def _ended(code: int) -> str:
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with code {code}"


def _report(network: str) -> Callable[[str], None]:
    """Prints what a network has come to, but not each of its turns."""
    last = ""

    def report(line: str) -> None:
        nonlocal last
        step = line.partition(",")[0]
        if step != last:
            print(f"{network}: {step}", file=sys.stderr, flush=True)
        last = step

    return report


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def _runtimes(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = sorted(set(names) - set(MEASURABLE))
    if unknown:
        raise argparse.ArgumentTypeError(f"no runtime {', '.join(unknown)}: {MEASURABLE}")
    return names


if __name__ == "__main__":
    sys.exit(main())
