"""Measurements that nobody made: the same ones every time, with numbers that go together."""

from dataclasses import replace
from statistics import NormalDist

import numpy as np

from nd_deploy.profiling.contestant import Contestant
from nd_deploy.profiling.environment.record import Cpu, Environment, Gpu, Sample
from nd_deploy.profiling.figures import LATENCY, LayerTime, Measured, Ratio, Remark, Summary, Usage
from nd_deploy.profiling.results import Method, ModelRecord, Profile, Row

GEMM, COPY = 9e10, 1.8e10
"""Peaks of the made-up processor: floating point operations and bytes a second."""

RECEIPTS = {
    "ort-cpu": ("onnxruntime", "1.31.1", ["CPUExecutionProvider"]),
    "ort-cuda": ("onnxruntime", "1.31.1", ["CUDAExecutionProvider"]),
    "tensorrt": ("tensorrt", "10.9.0", []),
    "torch": ("torch", "2.13.0", []),
}


def summary(mean, cv=0.02, n=1000):
    """The distribution of a latency that has a long tail, of exactly this mean."""
    normal = NormalDist()
    places = [normal.inv_cdf((i + 0.5) / n) for i in range(n)]
    samples = np.exp(cv * np.array(places))
    samples *= mean / samples.mean()
    quantiles = np.quantile(samples, np.linspace(0, 1, 101))
    std = float(samples.std(ddof=1)) if n > 1 else 0.0
    p50, p90, p95, p99 = (float(quantiles[i]) for i in (50, 90, 95, 99))
    return Summary(
        n=n,
        mean=float(samples.mean()),
        std=std,
        cv=std / mean,
        min=float(samples.min()),
        p50=p50,
        p90=p90,
        p95=p95,
        p99=p99,
        max=float(samples.max()),
        quantiles=tuple(map(float, quantiles)),
    )


def measured(mean, cv=0.02, n=1000, openings=3, rounds=4):
    """One metric: its distribution, and turns whose medians differ by up to one percent."""
    found = summary(mean, cv, n)
    wave = [[1 + 0.01 * np.sin(3 * o + r) for r in range(rounds)] for o in range(openings)]
    return Measured(found, tuple(tuple(float(found.p50 * w) for w in turns) for turns in wave))


def ratio(estimate, over, half_width=0.01, metric=LATENCY):
    """A ratio with an interval that is symmetric around it."""
    return Ratio(over, metric, estimate, estimate - half_width, estimate + half_width, 0.95)


def layers(names=("conv1", "conv2", "fc"), seconds=1e-4, nd=True):
    """Layers, each of which takes half as long as the one before it."""
    return tuple(
        LayerTime(
            name=f"node_{name}",
            op="Gemm" if name.startswith("fc") else "Conv + Relu",
            seconds=seconds / 2**place,
            nd_layer=name if nd else None,
            flops=2e6 / 2**place,
            bytes=3e5 / 2**place,
        )
        for place, name in enumerate(names)
    )


def usage(seconds, flops=2.2e7, size=1.5e6):
    """What a run that takes so many seconds makes of the made-up processor."""
    return Usage(
        flops=flops,
        bytes=size,
        gemm_flops_per_s=GEMM,
        copy_bytes_per_s=COPY,
        of_gemm=flops / seconds / GEMM,
        of_copy=size / seconds / COPY,
        of_roofline=max(flops / GEMM, size / COPY) / seconds,
    )


def receipt(runtime="ort-cpu", threads=None):
    """The fields of a runtime's receipt."""
    name, version, providers = RECEIPTS.get(runtime, (runtime, "1.0", []))
    return {
        "runtime": name,
        "version": version,
        "providers_asked": providers,
        "providers_got": providers,
        "options": {"graph_optimization_level": "all"} if runtime.startswith("ort") else {},
        "threads": threads,
        "tf32": False if runtime in ("ort-cuda", "tensorrt") else None,
        "placement": {},
        "files": {},
    }


def row(model="digits", runtime="ort-cpu", batch=1, mean=1e-3, *, cv=0.02, threads=None, **changes):
    """What was measured of one contestant; `changes` are fields of Row, or of Contestant."""
    special = {name: changes.pop(name) for name in ("cuda_graph", "cold_l2") if name in changes}
    fields = {
        "metrics": {LATENCY: measured(mean, cv)},
        "throughput": batch / mean,
        "receipt": receipt(runtime, threads),
        "memory": {"host": 120_000_000},
        "setup": {"open": 0.04, "first run": 2 * mean},
    }
    contestant = Contestant(model, runtime, batch, threads, **special)
    return Row(contestant=contestant, **(fields | changes))


def compared(rows, over=0):
    """Rows with the ratio of their mean latency over that of one of them, which has none."""
    base = rows[over]
    name, mean = str(base.contestant), base.latency.mean
    return tuple(
        each if each is base else replace(each, ratio=ratio(each.latency.mean / mean, name))
        for each in rows
    )


def environment(**changes):
    """A machine with a processor and no GPU."""
    fields = {
        "machine": "x86_64",
        "system": "Linux 6.8",
        "python": "3.11.7",
        "cpu": Cpu(
            "AMD EPYC 9B14",
            logical=4,
            affinity=(0, 1),
            quota=2.0,
            governor="performance",
            turbo=True,
            mhz=2600.0,
            load=0.2,
            busy=0.03,
        ),
        "versions": {"nd_deploy": "0.1.0", "onnxruntime": "1.31.1", "torch": "2.13.0"},
    }
    return Environment(**(fields | changes))


def gpu(**changes):
    """A GPU of a server."""
    fields = {
        "name": "NVIDIA H200",
        "compute_capability": "9.0",
        "driver": "580.95",
        "cuda": "13.0",
        "memory_bytes": 150_000_000_000,
        "l2_bytes": 62_914_560,
        "persistence": "on",
        "power_limit_w": 700.0,
        "max_sm_mhz": 1980.0,
        "max_memory_mhz": 3201.0,
        "locked_clocks": "off",
        "utilisation": 0.0,
        "other_processes": 0,
    }
    return Gpu(**(fields | changes))


def samples(rows, turns=12, on_gpu=False):
    """The device's state after every turn of every row, as it warms up."""
    names = [str(each.contestant) for each in rows]
    found = []
    for place in range(turns * len(names)):
        share = place / (turns * len(names))
        found.append(
            Sample(
                seconds=0.1 * (place + 1),
                row=names[place % len(names)],
                sm_mhz=1980.0 - (90.0 if share > 0.7 else 0.0) if on_gpu else None,
                memory_mhz=3201.0 if on_gpu else None,
                temperature_c=41 + 22 * (1 - 0.1**share) if on_gpu else None,
                power_w=180 + 300 * (1 - 0.01**share) if on_gpu else None,
                throttle=("sw_thermal_slowdown",) if on_gpu and share > 0.7 else (),
                cpu_mhz=2600.0 + 15 * np.sin(place),
            )
        )
    return tuple(found)


def model_record(name, **changes):
    """A model that took part."""
    kind = {"naive": "naive", "model.onnx": "onnx"}.get(name, "bundle")
    fields = {
        "kind": kind,
        "path": name if kind == "bundle" else None,
        "sha256": f"{sum(map(ord, name)):064x}",
        "nd_layers": 6 if kind != "onnx" else None,
    }
    return ModelRecord(name, **(fields | changes))


def profile(*rows, **changes):
    """A measurement of some rows."""
    fields = {
        "rows": rows,
        "models": tuple(
            model_record(name) for name in dict.fromkeys(each.contestant.model for each in rows)
        ),
        "method": Method(openings=3, rounds=4),
        "environment": environment(),
        "created": "2026-11-25T12:00:00+00:00",
        "command": "nd-deploy profile digits --against naive",
    }
    return Profile(**(fields | changes))


_ND_LAYERS = ("conv1", "conv2", "conv3", "conv4", "deconv1", "linear")


def _cpu_row(model, runtime, batch, mean, **changes):
    timed = layers(_ND_LAYERS, mean * 0.6) if runtime == "ort-cpu" else ()
    if model == "naive" and timed:
        timed = (
            *timed,
            LayerTime("node_centre", "Sub", mean * 0.18, "conv1", 1e4, 4e4),
            LayerTime("node_D", "MatMul", mean * 0.22, "conv2", 1.4e6, 2e5),
            LayerTime("node_Softmax", "Softmax", mean * 0.02, None, 1e3, 8e3),
        )
    return row(
        model,
        runtime,
        batch,
        mean,
        threads=1,
        error=2.1e-7 if model == "digits" else 3.4e-7,
        usage=usage(mean, 2.2e7 * batch, 1.5e6 * batch**0.5),
        layers=timed,
        **changes,
    )


def on_a_processor():
    """Two models in two runtimes at two batches, with layers, usage and warnings."""
    unstable = Remark(
        "unstable",
        "the coefficient of variation is 4.1 %, over 2.5 %",
        "close what else runs, or pin the clock: cpupower frequency-set -g performance",
    )
    rows = []
    for batch, scale in ((1, 1.0), (8, 5.5)):
        part = [
            _cpu_row("naive", "ort-cpu", batch, 0.48e-3 * scale),
            _cpu_row("digits", "ort-cpu", batch, 0.34e-3 * scale),
            _cpu_row("naive", "torch", batch, 6.1e-3 * scale, cv=0.041, remarks=(unstable,)),
            _cpu_row("digits", "torch", batch, 0.485e-3 * scale),
        ]
        rows += compared(part)
    load = Remark(
        "load",
        "other processes took 12 % of the processors before the run, over 5 %",
        "stop them, and measure again",
    )
    return profile(*rows, environment=environment(samples=samples(rows)), remarks=(load,))


def on_a_gpu():
    """Four rows on a GPU, with copies, clocks that fall, and power."""

    def one(model, runtime, mean, **changes):
        metrics = {
            LATENCY: measured(mean),
            "compute": measured(mean * 0.8),
            "enqueue": measured(mean * 0.3),
            "h2d": measured(mean * 0.1),
            "d2h": measured(mean * 0.05),
        }
        memory = {"host": 900_000_000, "device": 640_000_000}
        return row(model, runtime, 32, mean, metrics=metrics, memory=memory, **changes)

    rows = compared(
        [
            one("naive", "ort-cuda", 1.3e-3),
            one("digits", "ort-cuda", 0.9e-3),
            one("naive", "tensorrt", 0.8e-3, cuda_graph=True),
            one("digits", "tensorrt", 0.62e-3, cuda_graph=True),
        ]
    )
    surroundings = environment(gpu=gpu(), samples=samples(rows, on_gpu=True))
    return profile(*rows, environment=surroundings)
