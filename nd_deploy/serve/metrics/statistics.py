"""The statistics of a model in the words of Triton's statistics extension."""

from __future__ import annotations

from typing import Any

from nd_deploy.serve.metrics.tally import Batch, Duration, Tally


def statistics_of(name: str, version: str, tally: Tally) -> dict[str, Any]:
    """What the statistics extension tells of a model (docs/protocol/extension_statistics.md).

    Args:
        name: of the model.
        version: that is served.
        tally: its account.

    Returns:
        JSON-ready; durations are nanoseconds, and the last inference is milliseconds since 1970.
        There is no cache, so that nothing was found in one.
    """
    return {
        "name": name,
        "version": version,
        "last_inference": 0 if tally.last is None else int(tally.last * 1e3),
        "inference_count": tally.rows,
        "execution_count": tally.executions,
        "inference_stats": {
            "success": _told(tally.succeeded),
            "fail": _told(tally.failing),
            "queue": _told(tally.queued),
            "compute_input": _told(tally.joining),
            "compute_infer": _told(tally.running),
            "compute_output": _told(tally.splitting),
            "cache_hit": _told(Duration()),
            "cache_miss": _told(Duration()),
        },
        "batch_stats": [_batch(size, tally.batches[size]) for size in sorted(tally.batches)],
    }


def _batch(size: int, batch: Batch) -> dict[str, Any]:
    return {
        "batch_size": size,
        "compute_input": _told(batch.joining),
        "compute_infer": _told(batch.running),
        "compute_output": _told(batch.splitting),
    }


def _told(duration: Duration) -> dict[str, int]:
    return {"count": duration.count, "ns": int(duration.seconds * 1e9)}
