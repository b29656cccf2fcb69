"""How fast the frozen ChannelDeconv is: the plugin, the 1x1 convolution of cuDNN, the body.

Everything is recorded into CUDA graphs, so that the host's part is in no figure, and goes round
enough buffers that nothing is found in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from gpu.bodies import channel_deconv
from gpu.cases import BLOCK, FrozenCase, frozen_cases
from gpu.clock import Contestant, Measure, gpu_seconds, interleave, recorded, sets_of_buffers
from gpu.device import require_cuda, require_library, the_gpu
from gpu.library import Library
from gpu.parts import Row, Settings, attempt, require_right
from gpu.rooflines import frozen_whitening, peaks_of
from gpu.verdicts import describe
from nd_deploy.compat.cuda_torch import products_in_tf32

ROUNDS = 15
_COPY_BYTES = 1 << 30
PLUGIN, CONV, CONV_NHWC, CONV_TF32, BODY = "plugin", "conv", "conv nhwc", "conv tf32", "body"


def run(settings: Settings) -> list[Row]:
    """The copy bandwidth, before and after, and one row a case."""
    require_cuda()
    library = require_library(settings)
    torch.backends.cudnn.benchmark = True
    rounds = ROUNDS // 3 if settings.quick else ROUNDS
    bandwidth = copy_bandwidth(gpu_seconds(torch), rounds)
    rows: list[Row] = [{"what": "copy", "bytes_per_s": bandwidth}]
    with products_in_tf32(torch, allowed=False), torch.no_grad():
        for case in frozen_cases(settings.quick):
            about = {"what": "whitening", **vars(case)}
            rows.append(attempt(about, partial(time_case, library, case, bandwidth, rounds)))
    rows.append({"what": "copy", "bytes_per_s": copy_bandwidth(gpu_seconds(torch), rounds)})
    require_right(rows, describe)
    return rows


def time_case(library: Library, case: FrozenCase, bandwidth: float, rounds: int) -> Row:
    """Time every contestant on one case."""
    torch.cuda.empty_cache()  # of the case before
    sets = sets_of_buffers(case_bytes(case), cache_bytes())
    calls = contestants(library, case, sets, the_gpu(torch))
    ready = {name: recorded(torch, each) for name, each in calls.items()}
    timings = interleave(ready, gpu_seconds(torch), rounds)
    seconds = {name: timings.median(name) for name in timings.names}
    return frozen_row(case, seconds, bandwidth, torch.cuda.get_device_name())


def copy_bandwidth(measure: Measure, rounds: int) -> float:
    """Bytes a second that a copy within the device's memory reads and writes."""
    source = torch.empty(_COPY_BYTES, dtype=torch.uint8, device=the_gpu(torch)).random_()
    target = torch.empty_like(source)
    one = {"copy": Contestant(lambda: target.copy_(source))}
    return 2 * _COPY_BYTES / interleave(one, measure, rounds).median("copy")


def cache_bytes() -> int:
    """Size of the second-level cache."""
    return int(getattr(torch.cuda.get_device_properties(0), "L2_cache_size", 1 << 26))


def case_bytes(case: FrozenCase) -> int:
    """Bytes of x and y together."""
    return 2 * case.batch * case.channels * case.size**2 * getattr(torch, case.dtype).itemsize


def contestants(
    library: Library, case: FrozenCase, sets: int, device: torch.device
) -> dict[str, list[Callable[[], object]]]:
    """The calls of every contestant, one for each set of buffers."""
    dtype = getattr(torch, case.dtype)
    shape = (case.batch, case.channels, case.size, case.size)
    xs = [torch.randn(shape, device=device).to(dtype) for _ in range(sets)]
    ys = [torch.empty_like(x) for x in xs]
    mean = torch.randn(BLOCK, device=device)
    deconv = torch.eye(BLOCK, device=device) + torch.randn(BLOCK, BLOCK, device=device) / 8
    groups = torch.eye(case.channels // BLOCK, device=device)
    matrix = torch.kron(deconv, groups)
    bias = -(matrix @ mean.repeat_interleave(len(groups)))
    weight = matrix[:, :, None, None].to(dtype)
    weight_nhwc = weight.to(memory_format=torch.channels_last)
    bias = bias.to(dtype)
    xs_nhwc = [x.to(memory_format=torch.channels_last) for x in xs]
    calls: dict[str, list[Callable[[], object]]] = {
        PLUGIN: [
            partial(library.channel_deconv, x, [mean, deconv], y)
            for x, y in zip(xs, ys, strict=True)
        ],
        CONV: [_conv(x, weight, bias, tf32=False) for x in xs],
        CONV_NHWC: [_conv(x, weight_nhwc, bias, tf32=False) for x in xs_nhwc],
        BODY: [partial(channel_deconv, x, mean, deconv) for x in xs],
    }
    if dtype == torch.float32:
        calls[CONV_TF32] = [_conv(x, weight_nhwc, bias, tf32=True) for x in xs_nhwc]
    return calls


def _conv(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, tf32: bool
) -> Callable[[], object]:
    def call() -> object:
        with products_in_tf32(torch, tf32):
            return torch.nn.functional.conv2d(x, weight, bias)

    return call


def frozen_row(
    case: FrozenCase, seconds: Mapping[str, float], bandwidth: float, device: str
) -> Row:
    """What the figures of one case amount to.

    Args:
        case: the shape.
        seconds: of each contestant.
        bandwidth: of a copy, in bytes a second.
        device: its name.
    """
    itemsize = getattr(torch, case.dtype).itemsize
    work = frozen_whitening(case.batch, case.channels, case.size**2, BLOCK, itemsize)
    exact = min(seconds[name] for name in (CONV, CONV_NHWC) if name in seconds)
    peaks = peaks_of(device)
    row: dict[str, Any] = {
        **{f"{name} us": value * 1e6 for name, value in seconds.items()},
        "share of copy": work.bytes / seconds[PLUGIN] / bandwidth,
        "faster than conv": exact / seconds[PLUGIN],
        "faster than body": seconds[BODY] / seconds[PLUGIN],
    }
    if peaks is not None:
        row["roofline us"] = work.seconds(peaks.bytes_per_s, peaks.tf32) * 1e6
    return row
