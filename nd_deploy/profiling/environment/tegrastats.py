"""A Jetson's state as NVIDIA's program tegrastats prints it, where the kernel's files do not tell.

The format is described in the Jetson Linux Developer Guide, "tegrastats Utility". Engines that a
board lacks do not appear; older releases write sensors in capitals, and still older ones milliwatts
without their unit.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from statistics import fmean

from nd_deploy.profiling.environment.jetson_sensors import (
    UNCONNECTED,
    board_power,
    die_temperature,
)
from nd_deploy.profiling.environment.state import NotSampled, State

COMMAND = ("tegrastats", "--interval", "200")

_GPU = re.compile(r"\bGR3D_FREQ \d+%@\[?([\d,]+)", re.ASCII)
_MEMORY = re.compile(r"\bEMC_FREQ \d+%@(\d+)", re.ASCII)
_CPUS = re.compile(r"\bCPU \[([^\]]*)\]")
_CPU = re.compile(r"%@(\d+)", re.ASCII)
_SENSOR = re.compile(r"\b(\w+)@(-?\d+(?:\.\d+)?)C\b", re.ASCII)
_RAIL = re.compile(r"\b(?!RAM|SWAP)(\w+) (\d+)(?:mW/\d+mW|/\d+)(?=\s|$)", re.ASCII)

_CHUNK = 1 << 16
# What is printed while a model is opened waits in the pipe: five minutes of it. When the pipe is
# full, tegrastats waits too, and what it says next is old.
_PIPE = 1 << 20
_PATIENCE_S = 5


def parse(line: str) -> State:
    """Read a line of tegrastats; what it does not say, or says otherwise, stays unknown.

    Args:
        line: as it is printed.
    """
    rails = {
        name: float(milliwatts) / 1000
        for name, milliwatts in _RAIL.findall(line)
        if name != UNCONNECTED
    }
    sensors = {name.lower(): float(degrees) for name, degrees in _SENSOR.findall(line)}
    return State(
        # One number a cluster of the GPU; one without power has none.
        sm_mhz=max(_clocks(_GPU, line), default=0.0) or None,
        memory_mhz=max(_clocks(_MEMORY, line), default=0.0) or None,
        temperature_c=die_temperature(sensors),
        power_w=board_power(rails),
        rails=rails,
        cpu_mhz=_cpu_mhz(line),
    )


def start_tegrastats(command: Sequence[str] = COMMAND) -> Tegrastats | NotSampled:
    """Let tegrastats run, until it is closed or this process ends.

    Args:
        command: the program and its arguments.

    Returns:
        What reads it, or why it does not run.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pipesize=_PIPE,
            start_new_session=True,  # a Ctrl-C is for the measurement
        )
    except OSError as error:
        return NotSampled(
            f"the board's power is not sampled: {command[0]} does not start: {error.strerror}",
            "in a container, mount /usr/bin/tegrastats and /sys of the board",
        )
    return Tegrastats(process)


class Tegrastats:
    """Tells what tegrastats printed last; it needs no thread.

    Args:
        process: tegrastats, with a pipe for what it prints.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        assert process.stdout is not None  # it has a pipe
        self._pipe = process.stdout
        os.set_blocking(self._pipe.fileno(), False)
        self._text = b""

    def read(self) -> State:
        """The state at the end of its last interval; unknown once the program has ended."""
        while chunk := self._waiting():
            self._text += chunk
            # A line that is not whole yet, and the last one before it.
            self._text = b"\n".join(self._text.split(b"\n")[-2:])
        if chunk is not None:
            return State()
        whole, _, _ = self._text.rpartition(b"\n")
        return parse(whole.decode(errors="replace"))

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._pipe.close()

    def _waiting(self) -> bytes | None:
        """What waits in the pipe; None where nothing does, and empty once nothing ever will."""
        try:
            return os.read(self._pipe.fileno(), _CHUNK)
        except BlockingIOError:
            return None


def _clocks(pattern: re.Pattern[str], line: str) -> list[float]:
    found = pattern.search(line)
    return [float(mhz) for mhz in found[1].split(",") if mhz] if found else []


def _cpu_mhz(line: str) -> float | None:
    """The mean over the processors that are on."""
    found = _CPUS.search(line)
    told = [float(mhz) for mhz in _CPU.findall(found[1])] if found else []
    return fmean(told) if told else None
