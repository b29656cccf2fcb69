"""Figures of the suite that nobody measured."""

from gpu.parts import Part

MACHINE = {
    "machine": "x86_64",
    "system": "Linux",
    "python": "3.12.3",
    "gpu": {"name": "NVIDIA H200", "driver_version": "580.65.06", "temperature.gpu": "31"},
    "nvcc": "V13.0.88",
    "versions": {"torch": "2.13.0"},
    "sources": "0123",
}


def whitening(**changed):
    return {
        "what": "whitening",
        "channels": 256,
        "size": 56,
        "batch": 32,
        "dtype": "float32",
        "plugin us": 50.0,
        "conv us": 90.0,
        "body us": 80.0,
        "share of copy": 0.9,
        "faster than conv": 1.8,
        "faster than body": 1.6,
    } | changed


def fast_deconv(**changed):
    return {
        "op": "FastDeconv",
        "layer": "layer1.0.conv1",
        "layers": 4,
        "batch": 1,
        "dtype": "float32",
        "faster than eager": 8.0,
        "roofline tf32 us": 20.0,
        "roofline fp32 us": 90.0,
        "over roofline tf32": 2.0,
        "over roofline fp32": 0.6,
    } | changed


def error(**changed):
    return {
        "op": "NDChannelDeconv",
        "case": "2x8",
        "dtype": "float16",
        "error": 1e-4,
        "pytorch": 1e-4,
        "rms": 1e-5,
        "pytorch rms": 1e-5,
        "status": "ok",
        "reason": "",
    } | changed


def broken(row):
    """The row of a call that failed."""
    kept = {key: row[key] for key in row if key in ABOUT}
    return kept | {"status": "failed", "reason": "RuntimeError: out of memory"}


ABOUT = ("what", "channels", "size", "batch", "dtype", "op", "layer", "layers", "case")


def parts(frozen=(), dynamic=(), errors=(), quick=False):
    return [
        Part("frozen", "ran", rows=list(frozen), quick=quick),
        Part("dynamic", "ran", rows=list(dynamic), quick=quick),
        Part("errors", "ran", rows=list(errors), quick=quick),
    ]


def run_of_tests(**changed):
    return {"what": "all", "passed": 5, "failed": [], "skipped": {"no GPU": 2}} | changed
