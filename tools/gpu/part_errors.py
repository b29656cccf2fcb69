"""What the kernels compute, against PyTorch in float64, beside what PyTorch itself computes.

PyTorch's own error is that of the same formulas in float32, without TF32, its result rounded to the
type once, as the plugins do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from gpu.cases import FastDeconvCase, resnet18_layers
from gpu.device import require_cuda, require_library, the_gpu
from gpu.error_cases import DYNAMIC, FROZEN, LAYERS, SMALL, Cases, WhiteningCase
from gpu.parts import OK, WRONG, Row, Settings, attempt, require_right
from gpu.rooflines import ConvShape
from nd_deploy.compat.cuda_torch import products_in_tf32
from nd_deploy.plugins import twin_compute

if TYPE_CHECKING:
    from torch import Tensor

    from gpu.library import Library

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# A few roundings of the type, and in float32 those of some hundred summands.
LIMITS = {"float32": 1e-4, "float16": 2e-3, "bfloat16": 1.6e-2}
EPS, STEPS, SAMPLING = 1e-2, 5, 3
_ALIGNMENT = 256


@dataclass(frozen=True)
class Bench:
    """Where things are computed.

    Attributes:
        library: with the kernels.
        kernels: the device that they run on.
        reference: the device that PyTorch computes on.
    """

    library: Library
    kernels: torch.device
    reference: torch.device


def run(settings: Settings) -> list[Row]:
    """One row a case and type, all on the GPU."""
    require_cuda()
    batches = (32,) if settings.quick else (1, 32)
    layers = [
        replace(case, name=f"{case.name}, batch {batch}", shape=replace(case.shape, batch=batch))
        for case in resnet18_layers()
        for batch in batches
    ]
    gpu = the_gpu(torch)
    bench = Bench(require_library(settings), gpu, gpu)
    return judged(bench, Cases(FROZEN, DYNAMIC, (*LAYERS, *layers)))


def run_small(settings: Settings) -> list[Row]:
    """The small cases: the GPU runs nothing but the library's kernels and copies."""
    require_cuda()
    bench = Bench(require_library(settings), the_gpu(torch), torch.device("cpu"))
    return judged(bench, SMALL)


def judged(bench: Bench, cases: Cases) -> list[Row]:
    """The rows, if none is wrong.

    Raises:
        PartFailed: some are.
    """
    with products_in_tf32(torch, allowed=False), torch.no_grad():
        rows = list(compare_all(bench, cases))
    require_right(rows, lambda row: f"{row['op']} {row['case']} {row['dtype']}")
    return rows


def compare_all(bench: Bench, cases: Cases) -> Iterator[Row]:
    """Compare every case in every type."""
    for dtype in DTYPES:
        about = {"dtype": str(dtype).removeprefix("torch.")}
        for case in cases.frozen:
            for relu in (False, True):
                op = f"NDChannelDeconv{'Leftover' * case.left_over}{'Relu' * relu}"
                yield attempt(
                    {"op": op, "case": str(case), **about},
                    partial(frozen, bench, dtype, case, relu),
                )
        for case in cases.dynamic:
            yield attempt(
                {"op": "NDChannelDeconvDynamic", "case": str(case), **about},
                partial(dynamic, bench, dtype, case),
            )
        for layer in cases.layers:
            for part in ("weight", "bias"):
                yield attempt(
                    {"op": "NDFastDeconvDynamic", "case": f"{layer.name}, {part}", **about},
                    partial(fast_deconv, bench, dtype, layer, part),
                )


def frozen(bench: Bench, dtype: torch.dtype, case: WhiteningCase, relu: bool) -> Row:
    """A frozen ChannelDeconv."""
    generator = torch.Generator().manual_seed(0)
    x = correlated(case.shape, generator).to(dtype)
    block = case.block
    mixing = torch.randn(block, block, generator=generator) / math.sqrt(block)
    parameters = [torch.randn(block, generator=generator), torch.eye(block) + mixing]
    if case.left_over:
        parameters += [
            torch.randn(1, generator=generator),
            torch.rand(1, generator=generator) + 0.5,
        ]
    given, y = placed(x, case, bench.kernels), placed(x * math.nan, case, bench.kernels)
    bench.library.channel_deconv(given, [each.to(bench.kernels) for each in parameters], y, relu)

    def compute(x: Tensor, wide: torch.dtype) -> Tensor:
        own = [each.to(bench.reference, wide) for each in parameters]
        return twin_compute.channel_deconv(x, *own, relu=relu)

    return figures(y, *_own_and_exact(x.to(bench.reference), compute))


def dynamic(bench: Bench, dtype: torch.dtype, case: WhiteningCase) -> Row:
    """A ChannelDeconv with the statistics of its batch."""
    x = correlated(case.shape, torch.Generator().manual_seed(1)).to(dtype)
    given, y = placed(x, case, bench.kernels), placed(x * math.nan, case, bench.kernels)
    size = bench.library.channel_deconv_workspace(given, case.block)
    workspace = workspace_of(size, bench.kernels)
    bench.library.channel_deconv_dynamic(given, y, case.block, EPS, STEPS, SAMPLING, workspace)
    # float32, as the library is given it.
    eps = float(torch.tensor(EPS))

    def compute(x: Tensor, _: torch.dtype) -> Tensor:
        return twin_compute.channel_deconv_dynamic(
            x, block=case.block, eps=eps, n_iter=STEPS, sampling_stride=SAMPLING
        )

    return figures(y, *_own_and_exact(x.to(bench.reference), compute))


def fast_deconv(bench: Bench, dtype: torch.dtype, case: FastDeconvCase, part: str) -> Row:
    """The weight or the bias of a FastDeconv with the statistics of its batch."""
    shape, generator = case.shape, torch.Generator().manual_seed(2)
    sizes = (shape.batch, shape.in_channels, shape.height, shape.width)
    x = correlated(sizes, generator).to(dtype)
    weight, bias = parameters_of(shape, generator)
    folded = (
        (weight * math.nan).to(dtype).to(bench.kernels),
        (bias * math.nan).to(dtype).to(bench.kernels),
    )
    workspace = workspace_of(
        bench.library.fast_deconv_workspace(shape, case.eps, dtype), bench.kernels
    )
    given, w, b = (each.to(bench.kernels) for each in (x, weight, bias))
    bench.library.fast_deconv_dynamic(given, w, b, folded, shape, case.eps, workspace)
    place = ("weight", "bias").index(part)
    fold = folding(shape, float(torch.tensor(case.eps)))

    def compute(x: Tensor, wide: torch.dtype) -> Tensor:
        return fold(x, weight.to(bench.reference, wide), bias.to(bench.reference, wide))[place]

    return figures(folded[place], *_own_and_exact(x.to(bench.reference), compute))


def _own_and_exact(
    x: Tensor, compute: Callable[[Tensor, torch.dtype], Tensor]
) -> tuple[Tensor, Tensor]:
    """What PyTorch computes of x in float32, and in float64."""
    return compute(x, torch.float32), compute(x.double(), torch.float64)


def parameters_of(shape: ConvShape, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution, as they are drawn before training."""
    inputs = shape.in_channels // shape.groups
    bound = 1 / math.sqrt(inputs * math.prod(shape.kernel))
    sizes = (shape.out_channels, inputs, *shape.kernel)
    weight, bias = (
        (torch.rand(size, generator=generator) * 2 - 1) * bound
        for size in (sizes, (shape.out_channels,))
    )
    return weight, bias


def folding(
    shape: ConvShape, eps: float
) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """PyTorch's version of `Library.fast_deconv_dynamic`: the body's chain of products."""

    def fold(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        return twin_compute.fast_deconv_dynamic(
            x,
            weight,
            bias,
            pads=(*shape.padding, *shape.padding),
            dilations=shape.dilation,
            sampling_strides=shape.sampling,
            group=shape.groups,
            block=shape.block,
            n_iter=shape.n_iter,
            eps=eps,
        )

    return fold


def correlated(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Values with a mean whose channels depend on each other, float32."""
    mixing = torch.randn(shape[1], shape[1], generator=generator) / math.sqrt(shape[1])
    x = torch.randn(*shape, generator=generator) + 0.5
    return torch.einsum("nc...,cd->nd...", x, mixing).contiguous()


def placed(values: Tensor, case: WhiteningCase, device: torch.device) -> Tensor:
    """A copy in the memory of a device, which ends where its allocation does."""
    memory = torch.empty(values.numel() + case.misaligned, dtype=values.dtype, device=device)
    return memory[int(case.misaligned) :].view(values.shape).copy_(values)


def workspace_of(count: int, device: torch.device) -> Tensor:
    """So many bytes, aligned as the library asks for."""
    memory = torch.empty(count + _ALIGNMENT, dtype=torch.uint8, device=device)
    start = -memory.data_ptr() % _ALIGNMENT
    return memory[start : start + count]


def figures(found: Tensor, own: Tensor, exact: Tensor) -> Row:
    """Errors relative to the largest value: the largest, and the root of the mean square."""
    scale = float(exact.abs().max()) if exact.numel() else 1.0
    limit = LIMITS[str(found.dtype).removeprefix("torch.")]

    def errors(result: Tensor) -> tuple[float, float]:
        if not result.numel():
            return 0.0, 0.0
        off = (result.to(exact.device).double() - exact).abs() / scale
        # NaN is an error as large as any.
        off = off.nan_to_num(nan=math.inf)
        return float(off.max()), float(off.square().mean().sqrt())

    (largest, root), (own_largest, own_root) = errors(found), errors(own)
    return {
        "error": largest,
        "rms": root,
        "pytorch": own_largest,
        "pytorch rms": own_root,
        "status": OK if largest <= limit else WRONG,
        "reason": "" if largest <= limit else f"off by {largest:.1e}, more than {limit:.0e}",
    }
