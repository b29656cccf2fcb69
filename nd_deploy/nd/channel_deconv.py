"""The whitening of an activation: the one ND layer that acts on data and not on weights."""

import torch
from torch import Tensor, nn

from nd_deploy.errors import InputError
from nd_deploy.nd.statistics import at_least_one, average, whitening


class ChannelDeconv(nn.Module):
    """Whitens the channels of an activation.

    Channel b G + g is feature b of block g, so the first block * G channels become
    (D (x) I_G) (x - mu (x) 1_G). The C mod block channels left over share one mean and one
    variance: (x - mean2) / sqrt(var + eps). Unlike in the other layers D is the inverse root of
    the second moment of x, its mean not taken off, and the first batch replaces the statistics.

    Buffers, in the dtype of the input but for the last:
        running_mean1: (block, 1), mu.
        running_deconv: (block, block), D.
        running_mean2: (1, 1).
        running_var: (1, 1), unbiased.
        num_batches_tracked: (), int64, training steps seen.

    Args:
        block: channels a block. All channels are left over when there are fewer.
        eps: added to the diagonal of the second moment and to the variance.
        n_iter: Newton-Schulz steps.
        momentum: the weight of a new batch in the running average.
        sampling_stride: its square is how many values there are to one in the statistics, for
            maps that are not smaller than the stride.

    Raises:
        InputError: `block` is below 1, or the input of forward is neither 2-D nor 4-D.
    """

    running_mean1: Tensor
    running_deconv: Tensor
    running_mean2: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        block: int,
        eps: float = 1e-2,
        n_iter: int = 5,
        momentum: float = 0.1,
        sampling_stride: int = 3,
    ) -> None:
        super().__init__()
        self.block = at_least_one("block", block)
        self.eps = eps
        self.n_iter = n_iter
        self.momentum = momentum
        self.sampling_stride = sampling_stride
        self.register_buffer("running_mean1", torch.zeros(block, 1))
        self.register_buffer("running_deconv", torch.eye(block))
        self.register_buffer("running_mean2", torch.zeros(1, 1))
        self.register_buffer("running_var", torch.ones(1, 1))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        """Whitens x of shape (N, C, H, W) or (N, C); the output has the same shape."""
        if x.dim() not in (2, 4):
            raise InputError(
                f"ChannelDeconv takes an input (N, C, H, W) or (N, C), not {tuple(x.shape)}",
                "add or merge axes so that the channels are axis 1 of a 2-D or 4-D tensor",
            )
        maps = x if x.dim() == 4 else x[:, :, None, None]
        whole = x.shape[1] - x.shape[1] % self.block
        parts = []
        if whole:
            parts.append(self._whiten(maps[:, :whole]))
        if whole < x.shape[1]:
            parts.append(self._standardise(maps[:, whole:]))
        if self.training:
            self.num_batches_tracked.add_(1)
        return torch.cat(parts, dim=1).reshape(x.shape)

    def _whiten(self, x: Tensor) -> Tensor:
        mean, deconv = self.running_mean1, self.running_deconv
        if self.training:
            rows = self._sampled(x.transpose(0, 1).reshape(self.block, -1), x)
            mean = rows.mean(1, keepdim=True)
            deconv = whitening(rows.mT, self.eps, self.n_iter)
            self._track(self.running_mean1, mean)
            self._track(self.running_deconv, deconv)
        n, channels, height, width = x.shape
        blocks = x.reshape(n, self.block, channels // self.block * height * width)
        return (deconv @ (blocks - mean)).reshape(x.shape)

    def _standardise(self, x: Tensor) -> Tensor:
        mean, var = self.running_mean2, self.running_var
        if self.training:
            rows = self._sampled(x.reshape(x.shape[0], -1), x)
            mean, var = rows.mean(), rows.var()
            self._track(self.running_mean2, mean)
            self._track(self.running_var, var)
        return (x - mean) / (var + self.eps).sqrt()

    def _sampled(self, rows: Tensor, maps: Tensor) -> Tensor:
        small = min(maps.shape[2:]) < self.sampling_stride
        return rows if small else rows[:, :: self.sampling_stride**2]

    def _track(self, running: Tensor, batch: Tensor) -> None:
        first = self.num_batches_tracked == 0
        average(running, batch, 1.0 if first else self.momentum)

    def extra_repr(self) -> str:
        """Names what the state dict does not tell."""
        return f"block={self.block}, eps={self.eps}, n_iter={self.n_iter}"
