"""ND layers as other people write them: other classes, other code, the same buffers.

Each computes its eval output from an explicit Kronecker product, and shares nothing with nd_deploy.
"""

import math

import torch
from torch import nn
from torch.nn import functional


def spd(features, generator, spread=1.0):
    """A random symmetric positive definite matrix."""
    a = torch.randn(features, 2 * features, generator=generator)
    return torch.eye(features) + spread * (a @ a.T) / (2 * features)


class SomeonesConv(nn.Module):
    """FastDeconv of the current generation."""

    def __init__(self, cin, cout, kernel, stride=1, padding=0, dilation=1, groups=1, **options):
        super().__init__()
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.keep_mean = options.get("keep_mean", True)
        self.reverse = options.get("reverse", False)
        g = torch.Generator().manual_seed(7)
        block = cin // groups if groups > 1 else math.gcd(options.get("block", 64), cin)
        features = kernel**2 * block
        self.weight = nn.Parameter(
            torch.randn(cout, cin // groups, kernel, kernel, generator=g) / (cin * kernel) ** 0.5
        )
        bias = options.get("bias", True)
        self.bias = nn.Parameter(torch.randn(cout, generator=g)) if bias else None
        if groups == 1:
            self.register_buffer("running_deconv", spd(features, g))
        else:
            self.register_buffer(
                "running_deconv", torch.stack([spd(features, g) for _ in range(groups)])
            )
        self.register_buffer("running_mean", torch.randn(features * groups, generator=g) / 2)

    def forward(self, x):
        w = self.weight.flatten(1)
        if self.groups == 1:
            eye = torch.eye(w.shape[1] // self.running_deconv.shape[0], dtype=w.dtype)
            order = (eye, self.running_deconv) if self.reverse else (self.running_deconv, eye)
            w = w @ torch.kron(*order)
            mean = torch.kron(self.running_mean, eye.diagonal())
            shift = w @ mean
        else:
            per_group = w.view(self.groups, -1, w.shape[1])
            w = torch.stack([a @ d for a, d in zip(per_group, self.running_deconv, strict=True)])
            means = self.running_mean.view(self.groups, -1, 1)
            shift = torch.cat([a @ m for a, m in zip(w, means, strict=True)]).flatten()
        bias = self.bias
        if self.keep_mean:
            bias = (0 if bias is None else bias) - shift
        geometry = (self.stride, self.padding, self.dilation, self.groups)
        return functional.conv2d(x, w.reshape(self.weight.shape), bias, *geometry)


class SomeonesLinear(nn.Linear):
    """Delinear; an nn.Linear, so that tools which look at classes take it for one."""

    def __init__(self, features_in, features_out, block, bias=True, keep_mean=True):
        super().__init__(features_in, features_out, bias=bias)
        g = torch.Generator().manual_seed(8)
        self.keep_mean = keep_mean
        self.register_buffer("running_deconv", spd(block, g))
        self.register_buffer("running_mean", torch.randn(block, generator=g))

    def forward(self, x):
        eye = torch.eye(self.in_features // len(self.running_mean), dtype=x.dtype)
        w = self.weight @ torch.kron(eye, self.running_deconv)
        y = x @ w.T
        if self.keep_mean:
            y = y - w @ torch.kron(eye.diagonal(), self.running_mean)
        return y if self.bias is None else y + self.bias


class SomeonesNorm(nn.Module):
    """ChannelDeconv."""

    def __init__(self, block, eps=1e-2, counted=5):
        super().__init__()
        self.eps = eps
        g = torch.Generator().manual_seed(9)
        self.register_buffer("running_mean1", torch.randn(block, 1, generator=g))
        self.register_buffer("running_deconv", spd(block, g))
        self.register_buffer("running_mean2", torch.full((1, 1), 0.3))
        self.register_buffer("running_var", torch.full((1, 1), 2.5))
        self.register_buffer("num_batches_tracked", torch.tensor(counted))

    def forward(self, x):
        if self.num_batches_tracked == 0:
            self.running_mean1.zero_()
            raise UnboundLocalError("deconv")
        block = self.running_deconv.shape[0]
        groups = x.shape[1] // block
        head, tail = x[:, : groups * block], x[:, groups * block :]
        eye = torch.eye(groups, dtype=x.dtype)
        mean = torch.kron(self.running_mean1.flatten(), eye.diagonal())
        shape = (1, -1) + (1,) * (x.dim() - 2)
        if groups:
            matrix = torch.kron(self.running_deconv, eye)
            head = torch.tensordot(head - mean.view(shape), matrix, dims=([1], [1])).movedim(-1, 1)
        tail = (tail - self.running_mean2.item()) / (self.running_var.item() + self.eps) ** 0.5
        return torch.cat([head, tail], dim=1)
