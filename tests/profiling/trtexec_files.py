"""Files as trtexec writes them, with the layout of samples/common/sampleReporting.cpp."""


def digits(value):
    """A number as a C++ stream prints it unless told otherwise."""
    return f"{value:.6g}"


def times_file(runs, transfers=(0.0, 0.0), start=200.0, enqueue=0.125, gap=0.5):
    """What --exportTimes writes.

    Args:
        runs: milliseconds of computing of each run.
        transfers: milliseconds of copying to the GPU and back.
        start: the moment of the first run, after the warm-up.
        enqueue: milliseconds.
        gap: milliseconds from the end of a run to the next.
    """
    lines, now = [], start
    upload, download = transfers
    for compute in runs:
        computes = now + upload
        copies = computes + compute
        moments = {
            "startEnqMs": now,
            "endEnqMs": now + enqueue,
            "startH2dMs": now,
            "endH2dMs": computes,
            "startComputeMs": computes,
            "endComputeMs": copies,
            "startD2hMs": copies,
            "endD2hMs": copies + download,
            "h2dMs": upload,
            "computeMs": compute,
            "d2hMs": download,
            "latencyMs": upload + compute + download,
        }
        fields = ", ".join(f'"{name}" : {digits(value)}' for name, value in moments.items())
        lines.append(f"{'  ' if not lines else ', '}{{ {fields} }}\n")
        now = copies + download + gap
    return f"[\n{''.join(lines)}]\n"


def profile_file(medians, count=7):
    """What --exportProfile writes of layers and their median milliseconds."""
    total = sum(medians.values()) or 1.0
    lines = [
        f', {{ "name" : "{name}", "timeMs" : {digits(count * ms)}, "averageMs" : {digits(1.5 * ms)}'
        f', "medianMs" : {digits(ms)}, "percentage" : {digits(100 * ms / total)} }}\n'
        for name, ms in medians.items()
    ]
    return f'[\n  {{ "count" : {count} }}\n{"".join(lines)}]\n'


LOG = """\
&&&& RUNNING TensorRT.trtexec [TensorRT v100300] [b26] # trtexec --onnx=model.onnx
[11/25/2026-10:00:00] [I] === Device Information ===
[11/25/2026-10:00:00] [I] Available Devices:
[11/25/2026-10:00:00] [I]   Device 0: "NVIDIA L4" UUID: GPU-1
[11/25/2026-10:00:00] [I]   Device 1: "NVIDIA H100 80GB HBM3" UUID: GPU-2
[11/25/2026-10:00:00] [I] Selected Device: NVIDIA H100 80GB HBM3
[11/25/2026-10:00:00] [I] Selected Device ID: 1
[11/25/2026-10:00:00] [I] Selected Device UUID: GPU-2
[11/25/2026-10:00:00] [I] Compute Capability: 9.0
[11/25/2026-10:00:00] [I] SMs: 132
[11/25/2026-10:00:00] [I] Device Global Memory: 81079 MiB
[11/25/2026-10:00:00] [I] TensorRT version: 10.3.0
[11/25/2026-10:00:00] [I] Loading standard plugins
"""
