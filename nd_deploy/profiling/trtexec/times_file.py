"""Reads what trtexec writes for --exportTimes: the moments of every run.

The names were read in NVIDIA's TensorRT repository, samples/common/sampleReporting.cpp,
`exportJSONTrace`, which is the same at the tags v10.3.0, v10.16 and v11.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nd_deploy.bundle.fields import number
from nd_deploy.profiling.figures import COMPUTE, DOWNLOAD, ENQUEUE, LATENCY, UPLOAD
from nd_deploy.profiling.trtexec.json_list import list_of_objects, read_json, refused

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FLAG = "--exportTimes"

_SECONDS = 1e-3
_FIELDS = ("startEnqMs", "endEnqMs", "h2dMs", "computeMs", "d2hMs")
# What a C++ stream prints of a float unless told otherwise.
_DIGITS = 6
_RESOLVED = 0.1


def read_times(path: Path) -> dict[str, NDArray[np.float64]]:
    """The times of every run that trtexec counted.

    trtexec calls the sum of copying the inputs, computing and copying the outputs "latency", each
    between events of the GPU, and takes no time by the host's clock from a call to its end. So the
    latency here is the GPU's time to compute, without copies as elsewhere, and also without the
    launch and the wait for its end.

    Args:
        path: the file.

    Returns:
        By metric, seconds, each (n,): latency and compute; the copies, where there were any; and
        enqueue, unless the moments that it is the difference of have too few digits to tell it.

    Raises:
        InputError: it is missing, malformed, cut off or without a run.
    """
    import numpy as np

    entries = list_of_objects(read_json(path, FLAG), path, FLAG)
    if not entries:
        raise refused(path, FLAG, "it holds no run")
    columns = {name: np.array(_column(entries, name, path)) * _SECONDS for name in _FIELDS}
    enqueue = columns["endEnqMs"] - columns["startEnqMs"]
    compute = columns["computeMs"]
    times = {LATENCY: compute, COMPUTE: compute}
    if resolution(float(columns["endEnqMs"].max())) <= _RESOLVED * float(enqueue.mean()):
        times[ENQUEUE] = enqueue
    copies = {UPLOAD: columns["h2dMs"], DOWNLOAD: columns["d2hMs"]}
    if any(copy.any() for copy in copies.values()):
        times |= copies
    _check(times, path)
    return times


def resolution(moment: float) -> float:
    """The last of the six digits of a moment, in its unit."""
    return float(10.0 ** (math.floor(math.log10(moment)) + 1 - _DIGITS)) if moment > 0 else 0.0


def _column(entries: Sequence[Mapping[str, Any]], name: str, path: Path) -> list[float]:
    try:
        return [number(entry, name) for entry in entries]
    except ValueError as error:
        raise refused(path, FLAG, str(error)) from error


def _check(times: Mapping[str, NDArray[np.float64]], path: Path) -> None:
    import numpy as np

    for name, seconds in times.items():
        if not np.all(np.isfinite(seconds)) or seconds.min() < 0:
            raise refused(path, FLAG, f"a time of {name} is negative or no number")
    if not times[COMPUTE].min() > 0:
        raise refused(path, FLAG, "a run took no time")
