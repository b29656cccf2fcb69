"""What serving costs over running: `nd-deploy serve` beside bare ONNX Runtime, in turns.

    python tools/bench_serve.py [--quick] [--model toy] [--beside NAME=PID:HTTP[:GRPC]]

The server runs on one processor and its client on another, where there are two; ONNX Runtime has
one thread. Measured are the CPU of a request and the percentiles of its time, for each form of
request and concurrency, with requests joined to batches and without; memory above that of a process
that has only the session; and how long the demo takes from its start to being ready.

A server of another kind that speaks the same protocol takes part with --beside: its process, its
port of REST, and that of gRPC if it has one. It serves the bundles' model.onnx under the names
toy and resnet18, and its processes should be on the processor that is printed first. One that does
not take every form of request is measured with --form.

exit code: 0 every figure that has to be reached is; 1 one is missed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from serve_bench.figures import Footprint, Row
from serve_bench.measure import Plan, measure
from serve_bench.models import RESNET, TOY, make
from serve_bench.processes import Pins, Server, pins, serving
from serve_bench.requests_on_wire import FORMS
from serve_bench.results import Results
from serve_bench.table import page

from nd_deploy.profiling.environment.look import look_around
from nd_deploy.profiling.environment.record import Environment

ROOT = Path(__file__).resolve().parent.parent
DEMO = "digits"
STARTS = 5
FULL = Plan(openings=3, rounds=2, seconds=2.0, concurrencies=(1, 8, 32), forms=FORMS)
QUICK = Plan(openings=1, rounds=1, seconds=0.4, concurrencies=(1, 32), forms=FORMS)
PACKAGES = (
    "grpcio",
    "httptools",
    "numpy",
    "onnxruntime",
    "orjson",
    "starlette",
    "uvicorn",
    "uvloop",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the page, and write it and the figures; see above for what it returns."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    asked = parse(given)
    asked.out.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["python", "tools/bench_serve.py", *given])
    results = measured(asked.models, plan_of(asked), command)
    (asked.out / "serve.md").write_text(page(results), encoding="utf-8")
    (asked.out / "serve.json").write_text(json.dumps(results.as_dict(), indent=1), encoding="utf-8")
    print(page(results))
    return int(not all(goal.is_reached for goal in results.goals))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few turns, to see that it works")
    parser.add_argument(
        "--model", dest="models", action="append", choices=(TOY, RESNET), help="both without"
    )
    parser.add_argument("--openings", type=int, help="how often all processes are started")
    parser.add_argument("--rounds", type=int, help="turns in an opening")
    parser.add_argument("--seconds", type=float, help="of a turn")
    parser.add_argument(
        "--form", dest="forms", action="append", choices=FORMS, help="of requests; all without"
    )
    parser.add_argument("--beside", action="append", type=beside, default=[], help="see above")
    parser.add_argument("--out", type=Path, default=Path("out/serve"), help="where results are")
    asked = parser.parse_args(arguments)
    asked.models = asked.models or [TOY, RESNET]
    asked.forms = tuple(asked.forms or ())
    return asked


def plan_of(asked: argparse.Namespace) -> Plan:
    """What to measure of each model."""
    given = {name: getattr(asked, name) for name in ("openings", "rounds", "seconds", "forms")}
    plan = replace(QUICK if asked.quick else FULL, beside=tuple(asked.beside))
    return replace(plan, **{name: value for name, value in given.items() if value})


def beside(text: str) -> tuple[str, Server]:
    """Read NAME=PID:HTTP[:GRPC]."""
    name, _, numbers = text.partition("=")
    found = numbers.split(":")
    if not name or len(found) not in (2, 3) or not all(each.isdecimal() for each in found):
        raise argparse.ArgumentTypeError(f"{text} is not NAME=PID:HTTP[:GRPC]")
    process, http, *grpc = map(int, found)
    return name, Server(process, http, grpc[0] if grpc else None)


def measured(models: Sequence[str], plan: Plan, command: str) -> Results:
    """Measure everything."""
    created = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    where = pins()
    machine = described(look_around(PACKAGES), where)
    report(machine)
    rows: list[Row] = []
    footprints: list[Footprint] = []
    with tempfile.TemporaryDirectory(prefix="bench-serve-") as name:
        folder = Path(name)
        starts = starts_of_the_demo(folder, where)
        for model in models:
            report(f"{model}: making the bundle")
            found = measure(make(model, folder), plan, where, folder, report)
            rows += found[0]
            footprints += found[1]
    turns = f"turns in each: {plan.rounds}, of {plan.seconds:g} s"
    method = f"Openings: {plan.openings}; {turns}; one thread"
    return Results(tuple(rows), tuple(footprints), starts, machine, method, command, created)


def starts_of_the_demo(folder: Path, where: Pins) -> tuple[float, ...]:
    """Seconds from the start of the demo's server to its being ready, a few times."""
    report(f"{DEMO}: starting the server {STARTS} times")
    checkpoint = ROOT / "models/checkpoints/digits.pth.tar"
    words = ["convert", DEMO, "--checkpoint", str(checkpoint), "-o", str(folder / DEMO)]
    command = [sys.executable, "-m", "nd_deploy", *words]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    found = []
    for _ in range(STARTS):
        with serving(folder / DEMO, where.server) as server:
            assert server.seconds_to_ready is not None
            found.append(server.seconds_to_ready)
    return tuple(found)


def described(environment: Environment, where: Pins) -> str:
    """The machine in a line."""
    cpu = environment.cpu
    runs = (
        "servers and clients share the processors"
        if where.server is None
        else f"servers on processor {where.server}, clients on {where.client}"
    )
    versions = ", ".join(f"{name} {version}" for name, version in environment.versions.items())
    load = "" if cpu.load is None else f", load {cpu.load:g} at the start"
    return (
        f"{cpu.model}, {cpu.logical} logical processors{load}; {runs}; "
        f"Python {environment.python}, {versions}"
    )


def report(line: str) -> None:
    """Tell how far it is."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
