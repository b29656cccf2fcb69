"""Whether a plugin library is sound: it is loaded in a process that may crash, and asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nd_deploy.child_process import signal_name
from nd_deploy.compat import trt
from nd_deploy.errors import BackendError
from nd_deploy.nd.ops import DOMAIN
from nd_deploy.plugins.library import OPS, PluginLibrary, read_plugin
from nd_deploy.plugins.receipt import INTERFACE_VERSION

PLUGIN_VERSION = "1"

_BUILD = "build the library with this nd-deploy: nd-deploy plugin build"
_PATIENCE_S = 180


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with a library.

    Attributes:
        what: what the library does or lacks.
        remedy: what to do about it.
    """

    what: str
    remedy: str


@dataclass(frozen=True)
class PluginReport:
    """What loading a library showed.

    Attributes:
        library: the file and its receipt.
        plugins: what it brings, as (name, version, namespace).
        hosts: the versions of the TensorRTs that took it, by module.
        problems: what is wrong; empty if the library is sound.
    """

    library: PluginLibrary
    plugins: tuple[tuple[str, ...], ...]
    hosts: dict[str, str]
    problems: tuple[Problem, ...]

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-ready fields."""
        receipt = self.library.receipt
        return {
            "library": str(self.library.path),
            "sha256": self.library.sha256,
            "receipt": None if receipt is None else receipt.as_dict(),
            "plugins": [list(plugin) for plugin in self.plugins],
            "hosts": self.hosts,
            "problems": [asdict(problem) for problem in self.problems],
        }

    def require_sound(self) -> None:
        """Do nothing if the library is sound.

        Raises:
            BackendError: it is not.
        """
        if self.problems:
            what = "; ".join(problem.what for problem in self.problems)
            raise BackendError(f"{self.library.path} {what}", self.problems[0].remedy)


def check_library(
    path: Path, ops: Sequence[str] = OPS, hosts: Sequence[str] | None = None
) -> PluginReport:
    """Load a library in another process and look for plugins in it.

    Args:
        path: the library.
        ops: the plugins that it has to have.
        hosts: the modules of TensorRT to load it into as well; None for all that are installed. A
            library that registers itself is loaded into none, where it would register twice.

    Returns:
        What was found.

    Raises:
        InputError: the file cannot be read, or is no library of this machine.
        BackendError: the library has been changed since it was built.
    """
    library = read_plugin(path)
    looked = _ask(library.path)
    problems = [looked] if isinstance(looked, Problem) else list(_problems(looked, ops))
    asked = trt.installed() if hosts is None else hosts
    self_register = library.receipt is not None and library.receipt.self_register
    found: dict[str, str] = {}
    for host in () if problems or self_register else asked:
        answer = _ask(library.path, host)
        problem = answer if isinstance(answer, Problem) else _host_problem(host, answer, ops)
        if problem is not None:
            problems.append(problem)
        elif isinstance(answer, dict):
            found[host] = answer["version"]
    plugins = () if isinstance(looked, Problem) else looked.get("plugins") or ()
    return PluginReport(library, tuple(map(tuple, plugins)), found, tuple(problems))


def _ask(path: Path, host: str | None = None) -> dict[str, Any] | Problem:
    """The probe's result, or how it ended without one."""
    arguments = [str(path)] if host is None else [str(path), host]
    with trt.linkable(host or "") as variables:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "nd_deploy.plugins.probe", *arguments],
                env=os.environ | variables,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_PATIENCE_S,
            )
        except subprocess.TimeoutExpired:
            return Problem(f"does not answer: {_PATIENCE_S} s passed", _BUILD)
    stage = "starting Python"
    for said in map(json.loads, done.stdout.splitlines()):
        if "result" in said:
            result: dict[str, Any] = said["result"]
            return result
        stage = said["stage"]
    return Problem(f"ended the process that was {stage}: {_ending(done)}", _BUILD)


def _ending(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode < 0:
        return signal_name(-done.returncode)
    last = done.stderr.strip().splitlines()[-1:]
    return ": ".join([f"exit code {done.returncode}", *last])


def _problems(found: dict[str, Any], ops: Sequence[str]) -> Iterator[Problem]:
    if "error" in found:
        yield Problem(f"cannot be loaded: {found['error']}", _BUILD)
        return
    if found["plugins"] is None:
        yield Problem("has no function getCreators, so that it is no plugin library", _BUILD)
        return
    missing = _missing(ops, found["plugins"])
    if missing:
        yield Problem(f"lacks {missing}", _BUILD)
    version = found["interface_version"]
    # A library of somebody else's plugins has no version of ours and needs none.
    if version != INTERFACE_VERSION and (version is not None or set(ops) & set(OPS)):
        yield Problem(
            f"was built by another nd-deploy: its interface has version {version}, and this "
            f"one's is {INTERFACE_VERSION}",
            _BUILD,
        )


def _host_problem(host: str, answer: dict[str, Any], ops: Sequence[str]) -> Problem | None:
    title = f"{trt.title(host)} {answer['version']}"
    if not answer["loaded"]:
        return Problem(f"is refused by {title}", _BUILD)
    missing = _missing(ops, answer["plugins"])
    return Problem(f"does not bring {missing} into {title}", _BUILD) if missing else None


def _missing(ops: Sequence[str], plugins: Sequence[Sequence[str]]) -> str:
    there = {tuple(plugin) for plugin in plugins}
    lacking = [op for op in ops if (op, PLUGIN_VERSION, DOMAIN) not in there]
    return ", ".join(f"{op} {PLUGIN_VERSION} of {DOMAIN}" for op in lacking)
