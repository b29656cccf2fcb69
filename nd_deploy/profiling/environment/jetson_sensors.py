"""Clocks, temperatures and power of a Jetson, by the files of its kernel, which anybody may read.

The names are those of Jetson Linux 35 (JetPack 5) and newer: Developer Guide, "Platform Power and
Performance"; the power monitor's files are in the kernel's Documentation/hwmon/ina3221.rst.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from nd_deploy.profiling.environment.files import number_of, text_of
from nd_deploy.profiling.environment.state import State

UNCONNECTED = "NC"
"""The name of a channel of the power monitor that measures no rail."""

# Of the GPU's folder: "17000000.ga10b" before JetPack 6, "17000000.gpu" since, "gpu-gpc-0" in 7.
_GPUS = ("gpu", "ga10b", "gv11b", "gp10b", "gm20b")
_HZ_PER_MHZ = 1e6
_CHANNELS = (1, 2, 3)
_WHOLE_BOARD = ("VDD_IN", "VIN", "POM_5V_IN")
_DIE = ("gpu", "tj")  # the GPU's own, or else the hottest place of the chip
_OFF_C = -200  # a sensor that is without power says -256


class JetsonSensors:
    """Tells what the kernel's files do.

    Args:
        root: of the file tree.
    """

    def __init__(self, root: Path) -> None:
        gpu = gpu_folder(root)
        self._clock = None if gpu is None else gpu / "cur_freq"
        self._rails = _rails(root)
        self._zones = _zones(root)

    @property
    def has_rails(self) -> bool:
        """Whether there are power rails."""
        return bool(self._rails)

    def read(self) -> State:
        """The state now."""
        hz = None if self._clock is None else number_of(self._clock)
        watts = {rail.name: rail.watts() for rail in self._rails}
        rails = {name: power for name, power in watts.items() if power is not None}
        degrees = {name: number_of(file) for name, file in self._zones.items()}
        return State(
            sm_mhz=hz / _HZ_PER_MHZ if hz else None,  # without power it has no clock
            temperature_c=die_temperature(
                {name: milli / 1000 for name, milli in degrees.items() if milli is not None}
            ),
            power_w=board_power(rails),
            rails=rails,
        )

    def close(self) -> None:
        """It holds nothing."""


def gpu_folder(root: Path) -> Path | None:
    """The folder of the GPU's clock; None where there is none.

    Args:
        root: of the file tree.
    """
    folders = sorted((root / "sys/class/devfreq").glob("*"))
    return next((f for f in folders if any(name in f.name for name in _GPUS)), None)


def gpu_max_mhz(root: Path) -> float | None:
    """The highest clock that the GPU may take in the present power mode; see `gpu_folder`."""
    gpu = gpu_folder(root)
    hz = None if gpu is None else number_of(gpu / "max_freq")
    return None if hz is None else hz / _HZ_PER_MHZ


def die_temperature(by_sensor: Mapping[str, float]) -> float | None:
    """The GPU's temperature, or else the chip's, in degrees Celsius.

    Args:
        by_sensor: degrees by name, in small letters.
    """
    told = (by_sensor.get(name) for name in _DIE)
    return next((degrees for degrees in told if degrees is not None and degrees > _OFF_C), None)


def board_power(rails: Mapping[str, float]) -> float | None:
    """What the whole board draws, in watts; None where no rail stands for that.

    Args:
        rails: watts by name.
    """
    return next((rails[name] for name in _WHOLE_BOARD if name in rails), None)


class _Rail(NamedTuple):
    name: str
    millivolts: Path
    milliamperes: Path

    def watts(self) -> float | None:
        voltage, current = number_of(self.millivolts), number_of(self.milliamperes)
        return None if voltage is None or current is None else voltage * current * 1e-6


def _rails(root: Path) -> tuple[_Rail, ...]:
    monitors = [
        file.parent
        for file in sorted((root / "sys/class/hwmon").glob("hwmon*/name"))
        if text_of(file) == "ina3221"
    ]
    return tuple(
        _Rail(name, folder / f"in{channel}_input", folder / f"curr{channel}_input")
        for folder in monitors
        for channel in _CHANNELS
        if (name := text_of(folder / f"in{channel}_label")) not in (None, UNCONNECTED)
    )


def _zones(root: Path) -> dict[str, Path]:
    """The sensors' files by name: "GPU-therm" and "gpu-thermal" are both "gpu"."""
    files = sorted((root / "sys/class/thermal").glob("thermal_zone*/type"))
    return {
        name: file.with_name("temp")
        for file in files
        if (name := (text_of(file) or "").lower().partition("-")[0]) in _DIE
    }
