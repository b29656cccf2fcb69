"""Makes a measurement of what trtexec measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from nd_deploy.errors import InputError
from nd_deploy.profiling.contestant import Contestant
from nd_deploy.profiling.environment.record import Cpu, Environment
from nd_deploy.profiling.figures import COMPUTE, LATENCY, UPLOAD, Measured, Remark
from nd_deploy.profiling.layers.attribution import Attribution
from nd_deploy.profiling.remarks import NOT_SAMPLED, remarks_on_row
from nd_deploy.profiling.results import Method, ModelRecord, Profile, Row
from nd_deploy.profiling.trtexec.layers_files import read_layers
from nd_deploy.profiling.trtexec.log_file import Logged, read_log
from nd_deploy.profiling.trtexec.times_file import read_times
from nd_deploy.runtime.base import Receipt
from nd_deploy.runtime.options import TENSORRT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

IMPORTED = "imported"
"""The kind of the remark on what trtexec means by a word."""

_UNKNOWN = "unknown"
_LATENCY_IS_COMPUTE = Remark(
    IMPORTED,
    "trtexec takes no time by the host's clock: latency is the GPU's time to compute, without the "
    "launch and the wait for its end; what trtexec itself calls latency has the copies in it",
    "hold compute against compute of other measurements, and not latency",
)


@dataclass(frozen=True)
class Imported:
    """What trtexec measured of one model at one batch.

    Attributes:
        contestant: what it was; its runtime is TensorRT.
        times: for every start of trtexec, what it wrote for --exportTimes.
        profile: what it wrote for --exportProfile, if that is to be read.
        layers: what it wrote for --exportLayerInfo.
        log: what it printed.
        sha256: of the model's ONNX file, if it is there.
        nd_layers: how many ND layers the network had, if that is known.
        attribution: finds the layers of the model.
    """

    contestant: Contestant
    times: Sequence[Path]
    profile: Path | None = None
    layers: Path | None = None
    log: Path | None = None
    sha256: str | None = None
    nd_layers: int | None = None
    attribution: Attribution = field(default_factory=lambda: Attribution((), (), {}))


def read_trtexec(imported: Imported, method: Method | None = None) -> Profile:
    """Read what trtexec wrote as a measurement.

    Args:
        imported: the files, and what was measured.
        method: that trtexec's command was made for. Its runs are cut into as many consecutive
            turns, as near to each other in length as can be.

    Returns:
        One row. Its metrics are as elsewhere; see `read_times` for latency.

    Raises:
        InputError: a file is missing, malformed, cut off or empty, or some starts of
            trtexec copied and others did not.
    """
    method = Method() if method is None else method
    starts = _starts(imported.times)
    logged = Logged() if imported.log is None else read_log(imported.log)
    row = _row(imported, starts, method, logged)
    return Profile(
        rows=(row,),
        models=(_model(imported),),
        method=replace(
            method,
            openings=len(starts),
            # It warms up by time alone.
            warmup_iterations=0,
            processes="each",
            clock="events of the GPU, by trtexec",
        ),
        environment=_environment(logged),
        created=_written(imported.times[0]),
        remarks=(_elsewhere(logged),),
    )


def _starts(paths: Sequence[Path]) -> list[dict[str, NDArray[np.float64]]]:
    if not paths:
        raise InputError("no file of trtexec's times is given", "give what --exportTimes wrote")
    starts = [read_times(path) for path in paths]
    copied = [UPLOAD in start for start in starts]
    if any(copied) and not all(copied):
        without, beside = paths[copied.index(False)], paths[copied.index(True)]
        raise InputError(
            f"{without} has no copies in it, and {beside} has",
            "give the times of starts of one and the same command",
        )
    # Whether an enqueue can be told from its digits may differ between starts.
    common = [name for name in starts[0] if all(name in start for start in starts)]
    return [{name: start[name] for name in common} for start in starts]


def _row(
    imported: Imported,
    starts: Sequence[Mapping[str, NDArray[np.float64]]],
    method: Method,
    logged: Logged,
) -> Row:
    import numpy as np

    cut = [
        {name: np.array_split(seconds, min(method.rounds, len(seconds))) for name, seconds in s}
        for s in (start.items() for start in starts)
    ]
    metrics = {name: _measured([start[name] for start in cut]) for name in starts[0]}
    receipt = Receipt(
        runtime="trtexec", version=logged.version or _UNKNOWN, providers_asked=(), providers_got=()
    )
    row = Row(
        contestant=imported.contestant,
        metrics=metrics,
        throughput=imported.contestant.batch / metrics[LATENCY].summary.mean,
        receipt=asdict(receipt),
        layers=()
        if imported.profile is None
        else read_layers(imported.profile, imported.attribution, imported.layers),
    )
    turns = [turn for start in cut for turn in start[COMPUTE]]
    return replace(row, remarks=(*remarks_on_row(row, turns), _LATENCY_IS_COMPUTE))


def _measured(starts: Sequence[Sequence[NDArray[np.float64]]]) -> Measured:
    import numpy as np

    from nd_deploy.profiling.statistics import summarise

    return Measured(
        summarise(np.concatenate([turn for turns in starts for turn in turns])),
        tuple(tuple(float(np.median(turn)) for turn in turns) for turns in starts),
    )


def _model(imported: Imported) -> ModelRecord:
    name = imported.contestant.model
    return ModelRecord(name, "trtexec", None, imported.sha256, imported.nd_layers)


def _environment(logged: Logged) -> Environment:
    return Environment(
        machine=_UNKNOWN,
        system=_UNKNOWN,
        python=_UNKNOWN,
        cpu=Cpu(_UNKNOWN, 0, ()),
        versions={} if logged.version is None else {TENSORRT: logged.version},
        gpu=logged.gpu,
    )


def _elsewhere(logged: Logged) -> Remark:
    name_it = "" if logged.gpu else ", and give trtexec's log (--import-log), which names the GPU"
    return Remark(
        NOT_SAMPLED,
        "trtexec's files do not say on which machine, at which clocks and beside what it ran",
        f"note the machine beside the result{name_it}",
    )


def _written(path: Path) -> str:
    moment = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
    return moment.isoformat(timespec="seconds")
