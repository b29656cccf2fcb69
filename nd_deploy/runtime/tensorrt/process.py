"""Work in a process of its own, because TensorRT and plugins can abort the one they are in.

A job goes over as a JSON file in a folder, its result comes back as another, lines about how far it
is through a pipe, and what anybody prints goes into a log.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from nd_deploy.bundle import strict_json
from nd_deploy.child_process import (
    error_fields,
    error_of,
    import_paths,
    last_said,
    signal_name,
)
from nd_deploy.errors import BackendError, NdDeployError

# Takes a line of text, and says whether anybody still wants the result.
Report: TypeAlias = Callable[[str], bool]
Work: TypeAlias = Callable[[dict[str, Any], Path, Report], dict[str, Any]]

_JOB, _RESULT, _LOG = "job.json", "result.json", "log.txt"


def run_in_child(
    module: str,
    job: Mapping[str, Any],
    folder: Path,
    environment: Mapping[str, str],
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Run a module whose `__main__` calls `serve`, and wait for its result.

    The process dies with this call, however it ends.

    Args:
        module: its dotted name.
        job: what it is to do, JSON-ready.
        folder: an empty one, for the job and whatever it leaves.
        environment: variables to set for it.
        report: called with each line about how far it is.

    Returns:
        Its result.

    Raises:
        NdDeployError: the one that it raised.
        BackendError: something killed it.
        RuntimeError: it failed by a fault of nd-deploy.
    """
    (folder / _JOB).write_text(strict_json.dumps(job), encoding="utf-8")
    with _started(module, folder, environment) as (process, lines):
        for line in lines:
            report(json.loads(line))
        code = process.wait()
    result = folder / _RESULT
    if code == 0 and result.is_file():
        return _result(strict_json.read(result))
    log = (folder / _LOG).read_text(encoding="utf-8", errors="replace").strip()
    if code < 0:
        raise _killed(-code, log)
    raise RuntimeError(f"{module} ended with exit code {code}:\n{log}")


def serve(work: Work) -> None:
    """Be the other side of `run_in_child`.

    Args:
        work: takes the job, the folder and a `Report`, and returns the result.
    """
    folder, channel = Path(sys.argv[1]), int(sys.argv[2])
    with os.fdopen(channel, "w", encoding="utf-8") as lines:

        def report(line: str) -> bool:
            try:
                lines.write(f"{json.dumps(line)}\n")
                lines.flush()
            except BrokenPipeError:
                return False
            return True

        try:
            document = {"result": work(strict_json.read(folder / _JOB), folder, report)}
        except NdDeployError as error:
            document = {"error": error_fields(error)}
        (folder / _RESULT).write_text(strict_json.dumps(document), encoding="utf-8")


@contextlib.contextmanager
def _started(
    module: str, folder: Path, environment: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], Iterator[str]]]:
    reading, writing = os.pipe()
    with os.fdopen(reading, encoding="utf-8") as lines, (folder / _LOG).open("wb") as log:
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", module, str(folder), str(writing)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(writing,),
                env={**os.environ, **import_paths(), **environment},
                # Python looks for modules where it starts, and this folder has none.
                cwd=folder,
                # Ctrl-C is for this process, which then ends the other.
                start_new_session=True,
            )
        finally:
            os.close(writing)
        try:
            yield process, lines
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _result(document: Mapping[str, Any]) -> dict[str, Any]:
    error = document.get("error")
    if error is not None:
        raise error_of(error)
    result: dict[str, Any] = document["result"]
    return result


def _killed(number: int, log: str) -> BackendError:
    return BackendError(
        f"TensorRT's process was killed by {signal_name(number)}; the last that it said:\n"
        f"{last_said(log)}",
        "usually memory has run out: free some, or give a smaller --workspace or --batch"
        if number == signal.SIGKILL
        else "plugins are the usual cause: 'nd-deploy plugin check FILE' tells whether one fits "
        "this TensorRT; without plugins, try another version of TensorRT",
    )
