"""How fast the layers with the batch's statistics are: the plugin, the body's chain, PyTorch.

The plugin is timed in two ways: recorded into a CUDA graph, which is the GPU's time alone and is
what is held against the roofline, and launched call by call with the convolution behind it, which
is held against PyTorch's training-mode forward of the layer, launched the same way.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from gpu.bodies import channel_deconv_dynamic
from gpu.cases import (
    BLOCK,
    DTYPES,
    DYNAMIC_BATCHES,
    FastDeconvCase,
    resnet18_layers,
)
from gpu.clock import Contestant, gpu_seconds, in_turn, interleave, recorded, sets_of_buffers
from gpu.device import require_cuda, require_library, the_gpu
from gpu.library import Library
from gpu.part_errors import correlated, folding, parameters_of, workspace_of
from gpu.part_frozen import cache_bytes
from gpu.parts import Row, Settings, attempt, require_right
from gpu.rooflines import ConvShape, Work, dynamic_whitening, peaks_of
from gpu.verdicts import describe
from nd_deploy.compat.cuda_torch import products_in_tf32
from nd_deploy.nd.layers import ChannelDeconv, FastDeconv

ROUNDS = 15
EPS, STEPS, SAMPLING = 1e-2, 5, 3
# Channels and size of the maps that leave ResNet-18's stages.
STAGES = ((64, 56), (128, 28), (256, 14), (512, 7))
PLUGIN, LAYER, BODY, EAGER = "plugin", "plugin launched", "body", "eager"

Calls = dict[str, list[Callable[[], object]]]


def run(settings: Settings) -> list[Row]:
    """One row a layer, batch and type."""
    require_cuda()
    library = require_library(settings)
    torch.backends.cudnn.benchmark = True
    layers = resnet18_layers()[: 3 if settings.quick else None]
    with products_in_tf32(torch, allowed=False), torch.no_grad():
        rows = list(time_all(library, layers, settings))
    require_right(rows, describe)
    return rows


def time_all(
    library: Library, layers: Sequence[FastDeconvCase], settings: Settings
) -> Iterator[Row]:
    """Time every layer, batch and type."""
    for batch, dtype in itertools.product(DYNAMIC_BATCHES, DTYPES):
        for case in layers:
            yield attempt(
                fast_deconv_about(case, batch, dtype),
                partial(_time_fast_deconv, library, case, batch, dtype, settings),
            )
        for channels, size in STAGES:
            sizes = (batch, channels, size, size)
            yield attempt(
                channel_deconv_about(sizes, dtype),
                partial(_time_channel_deconv, library, sizes, dtype, settings),
            )


def fast_deconv_about(case: FastDeconvCase, batch: int, dtype: str) -> Row:
    """What a row is about."""
    about = {"op": "FastDeconv", "layer": case.name, "layers": case.layers}
    return {**about, "batch": batch, "dtype": dtype}


def channel_deconv_about(sizes: tuple[int, int, int, int], dtype: str) -> Row:
    """What a row is about."""
    batch, channels, height, width = sizes
    about = {"op": "ChannelDeconv", "layer": f"{channels}x{height}x{width}", "layers": 1}
    return {**about, "batch": batch, "dtype": dtype}


def _time_fast_deconv(
    library: Library, case: FastDeconvCase, batch: int, dtype: str, settings: Settings
) -> Row:
    shape = replace(case.shape, batch=batch)
    sets = sets_of_buffers(shape_bytes(shape, dtype), cache_bytes())
    calls = fast_deconv_calls(library, case, shape, dtype, sets, the_gpu(torch))
    return fast_deconv_figures(shape, dtype, _timed(calls, settings), _name())


def shape_bytes(shape: ConvShape, dtype: str) -> int:
    """Bytes of a layer's input."""
    values = shape.batch * shape.in_channels * shape.height * shape.width
    return int(values * getattr(torch, dtype).itemsize)


def fast_deconv_calls(
    library: Library,
    case: FastDeconvCase,
    shape: ConvShape,
    dtype: str,
    sets: int,
    device: torch.device,
) -> Calls:
    """The calls of every contestant on a FastDeconv, one for each set of buffers."""
    kind = getattr(torch, dtype)
    generator = torch.Generator().manual_seed(0)
    sizes = (shape.batch, shape.in_channels, shape.height, shape.width)
    x = correlated(sizes, generator).to(device, kind)
    xs = [x.clone() for _ in range(sets)]
    weight, bias = (each.to(device) for each in parameters_of(shape, generator))
    folded = (torch.empty_like(weight, dtype=kind), torch.empty_like(bias, dtype=kind))
    workspace = workspace_of(library.fast_deconv_workspace(shape, case.eps, kind), device)
    layer = _fast_deconv(case, shape, weight, bias).to(kind).train()
    fold = folding(shape, case.eps)

    def plugin(x: torch.Tensor) -> None:
        library.fast_deconv_dynamic(x, weight, bias, folded, shape, case.eps, workspace)

    def with_convolution(x: torch.Tensor) -> torch.Tensor:
        plugin(x)
        return torch.nn.functional.conv2d(
            x, *folded, shape.stride, shape.padding, shape.dilation, shape.groups
        )

    return {
        PLUGIN: [partial(plugin, x) for x in xs],
        LAYER: [partial(with_convolution, x) for x in xs],
        BODY: [partial(fold, x, weight, bias) for x in xs],
        EAGER: [partial(layer, x) for x in xs],
    }


def _fast_deconv(
    case: FastDeconvCase, shape: ConvShape, weight: torch.Tensor, bias: torch.Tensor
) -> FastDeconv:
    layer = FastDeconv(
        shape.in_channels,
        shape.out_channels,
        shape.kernel,
        shape.stride,
        shape.padding,
        shape.dilation,
        groups=shape.groups,
        eps=case.eps,
        n_iter=shape.n_iter,
        block=shape.block,
        sampling_stride=shape.sampling[0] // shape.stride[0],
    ).to(weight.device)
    assert layer.bias is not None
    layer.weight.data, layer.bias.data = weight.clone(), bias.clone()
    return layer


def fast_deconv_figures(
    shape: ConvShape, dtype: str, seconds: Mapping[str, float], device: str
) -> Row:
    """What the figures of one FastDeconv amount to."""
    return _figures(shape.statistics(getattr(torch, dtype).itemsize), seconds, device)


def channel_deconv_calls(
    library: Library, sizes: tuple[int, int, int, int], dtype: str, sets: int, device: torch.device
) -> Calls:
    """The calls of every contestant on a ChannelDeconv, one for each set of buffers."""
    kind = getattr(torch, dtype)
    x = correlated(sizes, torch.Generator().manual_seed(0)).to(device, kind)
    pairs = [(x.clone(), torch.empty_like(x)) for _ in range(sets)]
    workspace = workspace_of(library.channel_deconv_workspace(x, BLOCK), device)
    layer = ChannelDeconv(BLOCK, EPS, STEPS, sampling_stride=SAMPLING).to(device, kind).train()

    def plugin(x: torch.Tensor, y: torch.Tensor) -> None:
        library.channel_deconv_dynamic(x, y, BLOCK, EPS, STEPS, SAMPLING, workspace)

    def body(x: torch.Tensor) -> torch.Tensor:
        return channel_deconv_dynamic(x, BLOCK, EPS, STEPS, SAMPLING)

    calls: list[Callable[[], object]] = [partial(plugin, x, y) for x, y in pairs]
    return {
        PLUGIN: calls,
        LAYER: calls,
        BODY: [partial(body, x) for x, _ in pairs],
        EAGER: [partial(layer, x) for x, _ in pairs],
    }


def channel_deconv_figures(
    sizes: tuple[int, int, int, int], dtype: str, seconds: Mapping[str, float], device: str
) -> Row:
    """What the figures of one ChannelDeconv amount to."""
    batch, channels, height, width = sizes
    every = 1 if min(height, width) < SAMPLING else SAMPLING**2
    itemsize = getattr(torch, dtype).itemsize
    work = dynamic_whitening(batch, channels, height * width, BLOCK, STEPS, every, itemsize)
    return _figures(work, seconds, device)


def _time_channel_deconv(
    library: Library, sizes: tuple[int, int, int, int], dtype: str, settings: Settings
) -> Row:
    count = math.prod(sizes) * getattr(torch, dtype).itemsize
    sets = sets_of_buffers(2 * count, cache_bytes())
    calls = channel_deconv_calls(library, sizes, dtype, sets, the_gpu(torch))
    return channel_deconv_figures(sizes, dtype, _timed(calls, settings), _name())


def _timed(calls: Calls, settings: Settings) -> dict[str, float]:
    # Of the case before.
    torch.cuda.empty_cache()
    ready: dict[str, Contestant] = {
        name: recorded(torch, each) if name in (PLUGIN, BODY) else in_turn(each)
        for name, each in calls.items()
    }
    timings = interleave(ready, gpu_seconds(torch), ROUNDS // 3 if settings.quick else ROUNDS)
    return {name: timings.median(name) for name in timings.names}


def _figures(work: Work, seconds: Mapping[str, float], device: str) -> Row:
    row: dict[str, Any] = {
        **{f"{name} us": value * 1e6 for name, value in seconds.items()},
        "faster than eager": seconds[EAGER] / seconds[LAYER],
        "faster than body": seconds[BODY] / seconds[PLUGIN],
    }
    peaks = peaks_of(device)
    if peaks is not None:
        for name, operations in (("tf32", peaks.tf32), ("fp32", peaks.fp32)):
            least = work.seconds(peaks.bytes_per_s, operations)
            row[f"roofline {name} us"] = least * 1e6
            row[f"over roofline {name}"] = seconds[PLUGIN] / least
    return row


def _name() -> str:
    return str(torch.cuda.get_device_name())
