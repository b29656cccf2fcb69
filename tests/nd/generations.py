"""The published generations of the ND layers, each in code of its own.

Where an original moves D into the weight, so does its copy here, from an explicit Kronecker
product; nothing is shared with nd_deploy.
"""

import torch
from foreign_layers import SomeonesConv, SomeonesLinear, SomeonesNorm, spd
from torch import nn
from torch.nn import functional


def crooked(features, generator):
    """A matrix that is far from symmetric, so that a transposed D cannot go unnoticed."""
    d = spd(features, generator)
    return d + 0.1 * torch.randn(features, features, generator=generator)


class Early(nn.Module):
    """FastDeconv of 2019: D from the left; the mean, where it has one, before the padding.

    `spread` is "none" (26 May), "consecutive" (29 May) or "alternating" (July).
    """

    def __init__(self, cin, cout, kernel, spread, stride=1, padding=0, block=2, bias=True):
        super().__init__()
        self.stride, self.padding, self.dilation, self.groups = stride, padding, 1, 1
        self.spread = spread
        g = torch.Generator().manual_seed(12)
        features = kernel**2 * block
        self.weight = nn.Parameter(torch.randn(cout, cin, kernel, kernel, generator=g) / 4)
        self.bias = None
        if spread != "none":
            shape = (block, 1) if spread == "consecutive" else (1, block, 1, 1)
            self.register_buffer("running_mean", torch.randn(shape, generator=g))
            self.bias = nn.Parameter(torch.randn(cout, generator=g)) if bias else None
        self.register_buffer("running_deconv", crooked(features, g))

    def forward(self, x):
        if self.spread != "none":
            mean, copies = self.running_mean.flatten(), x.shape[1] // self.running_mean.numel()
            per_channel = [
                mean[c // copies if self.spread == "consecutive" else c % len(mean)]
                for c in range(x.shape[1])
            ]
            x = x - torch.stack(per_channel).view(1, -1, 1, 1)
        columns = self.weight.flatten(1).T
        eye = torch.eye(len(columns) // len(self.running_deconv), dtype=x.dtype)
        weight = (torch.kron(self.running_deconv, eye) @ columns).T.reshape(self.weight.shape)
        return functional.conv2d(x, weight, self.bias, self.stride, self.padding)


class EarlyPatches(nn.Module):
    """DeConv2d of 2019 in its modes 1 to 4."""

    def __init__(self, cin, cout, kernel, mode, stride=1, padding=0, block=2, bias=True):
        super().__init__()
        self.stride, self.padding, self.dilation, self.groups = stride, padding, 1, 1
        self.mode, self.kernel = mode, kernel
        g = torch.Generator().manual_seed(13)
        self.weight = nn.Parameter(torch.randn(cout, cin, kernel, kernel, generator=g) / 4)
        self.bias = nn.Parameter(torch.randn(cout, generator=g)) if bias else None
        if mode in (1, 3):
            self.channel_deconv = SomeonesNorm(block)
        if mode != 3:
            features = kernel**2 * (block if mode == 4 else 1)
            self.register_buffer("running_mean", torch.randn(features, 1, generator=g))
            self.register_buffer("running_deconv", crooked(features, g))
            self.register_buffer("num_batches_tracked", torch.tensor(3))

    def forward(self, x):
        if self.mode in (1, 3):
            x = self.channel_deconv(x)
        if self.mode == 3:
            return functional.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        # Its own formula for the size, which is off where the last stride is not a whole one.
        height, width = (
            (n + 2 * self.padding - self.kernel + 1) // self.stride for n in x.shape[2:]
        )
        patches = functional.unfold(x, self.kernel, 1, self.padding, self.stride)
        features = len(self.running_deconv)
        rows = patches.permute(1, 0, 2).reshape(features, -1) - self.running_mean
        whitened = (self.running_deconv @ rows).view(patches.shape[1], x.shape[0], -1)
        y = torch.einsum("oi,inl->nol", self.weight.flatten(1), whitened)
        y = y.view(x.shape[0], -1, height, width)
        return y if self.bias is None else y + self.bias.view(1, -1, 1, 1)


class PlusPlusConv(SomeonesConv):
    """Deconv of ND++, which normalises each sample first."""

    def __init__(self, *arguments, norm, eps=1e-2, **options):
        super().__init__(*arguments, **options)
        self.norm_type, self.eps = norm, eps
        self.register_buffer("running_cov_isqrt", self._buffers.pop("running_deconv"))

    def forward(self, x):
        samples = x.flatten(1)
        if self.norm_type == "layernorm":
            scale = samples.std(1, unbiased=True) + self.eps
            samples = (samples - samples.mean(1, keepdim=True)) / scale[:, None]
        if self.norm_type == "l1norm":
            samples = samples / (samples.abs().mean(1, keepdim=True) + self.eps)
        self.running_deconv = self.running_cov_isqrt
        try:
            return super().forward(samples.view(x.shape))
        finally:
            del self.running_deconv


class PlusPlusLinear(SomeonesLinear):
    """Delinear of ND++."""

    def __init__(self, *arguments, norm, eps=1e-2, **options):
        super().__init__(*arguments, **options)
        self.norm_type, self.eps = norm, eps

    def forward(self, x):
        if self.norm_type == "layernorm":
            x = (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + self.eps)
        if self.norm_type == "l1norm":
            x = x / (x.abs().mean(-1, keepdim=True) + self.eps)
        return super().forward(x)


class PlusPlusTransposed(nn.Module):
    """DeconvTransposed of ND++."""

    transposed, groups = True, 1

    def __init__(self, channels, kernel, stride=1, padding=0, output_padding=0, block=2):
        super().__init__()
        self.stride, self.padding = (stride, stride), (padding, padding)
        self.dilation, self.output_padding = (1, 1), (output_padding, output_padding)
        g = torch.Generator().manual_seed(14)
        shape = (channels, channels, kernel, kernel)
        self.weight = nn.Parameter(torch.randn(shape, generator=g) / 4)
        self.bias = nn.Parameter(torch.randn(channels, generator=g))
        self.register_buffer("running_mean", torch.randn(kernel**2 * block, generator=g))
        self.register_buffer("running_cov_isqrt", crooked(kernel**2 * block, g))

    def forward(self, x):
        rows = self.weight.flip(2, 3).flatten(1)
        eye = torch.eye(rows.shape[1] // len(self.running_mean), dtype=x.dtype)
        rows = rows @ torch.kron(self.running_cov_isqrt, eye)
        bias = self.bias - rows @ torch.kron(self.running_mean, eye.diagonal())
        weight = rows.view(self.weight.shape).flip(2, 3)
        return functional.conv_transpose2d(
            x, weight, bias, self.stride, self.padding, self.output_padding
        )


class Conv1d(nn.Module):
    """FastDeconv for signals."""

    def __init__(self, cin, cout, kernel, stride=1, padding=0, dilation=1, block=2, mean=True):
        super().__init__()
        self.stride, self.padding, self.dilation = (stride,), (padding,), (dilation,)
        self.groups, self.mean = 1, mean
        g = torch.Generator().manual_seed(15)
        self.weight = nn.Parameter(torch.randn(cout, cin, kernel, generator=g) / 4)
        self.bias = nn.Parameter(torch.randn(cout, generator=g)) if mean else None
        self.register_buffer("running_mean", torch.randn(kernel * block, generator=g))
        self.register_buffer("running_deconv", crooked(kernel * block, g))

    def forward(self, x):
        rows = self.weight.flatten(1)
        eye = torch.eye(rows.shape[1] // len(self.running_mean), dtype=x.dtype)
        rows = rows @ torch.kron(self.running_deconv, eye)
        bias = self.bias
        if self.mean:
            bias = bias - rows @ torch.kron(self.running_mean, eye.diagonal())
        weight = rows.view(self.weight.shape)
        return functional.conv1d(x, weight, bias, self.stride, self.padding, self.dilation)


class AffineNorm(SomeonesNorm):
    """A ChannelDeconv with a learned scale and shift behind D.

    DecorrelateBN is one without statistics for leftover channels, of which it has none.
    """

    def __init__(self, channels, block, leftovers=True):
        super().__init__(block)
        if not leftovers:
            del self.running_mean2, self.running_var
        g = torch.Generator().manual_seed(16)
        self.weight = nn.Parameter(torch.randn(channels, generator=g))
        self.bias = nn.Parameter(torch.randn(channels, generator=g))

    def forward(self, x):
        shape = (1, -1) + (1,) * (x.dim() - 2)
        if not hasattr(self, "running_var"):
            mean = self.running_mean1.flatten().repeat_interleave(
                x.shape[1] // len(self.running_mean1)
            )
            eye = torch.eye(x.shape[1] // len(self.running_mean1), dtype=x.dtype)
            matrix = torch.kron(self.running_deconv, eye)
            y = torch.einsum("cd,nd...->nc...", matrix, x - mean.view(shape))
            return y * self.weight.view(shape) + self.bias.view(shape)
        return super().forward(x) * self.weight.view(shape) + self.bias.view(shape)
