"""Stand-ins for convolutions with whitened patches."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from nd_deploy.nd import dialect
from nd_deploy.nd.adapters.base import WeightAdapter


class FastDeconvAdapter(WeightAdapter):
    """Stands in for a convolution whose patches are whitened.

    Args:
        weight: (O, C / groups, *kernel).
        bias: (O,) or None.
        mean: running mean with `groups` x F entries.
        deconv: running D, (F, F) or (groups, F, F).
        stride: one int a spatial axis, as are `padding` and `dilation`.
        padding: zeros added on both sides.
        dilation: distance of the kernel's taps.
        groups: as of a convolution.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        mean: Tensor,
        deconv: Tensor,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        groups: int,
    ) -> None:
        features = deconv.shape[-1]
        by_group = mean.reshape(groups, features), deconv.reshape(groups, features, features)
        super().__init__(weight, bias, *by_group)
        self.stride, self.padding, self.dilation = list(stride), list(padding), list(dilation)
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """Trace (N, C, *spatial) to one NDFastDeconv."""
        kernel = list(self.weight.shape[2:])
        spatial = [
            (size + 2 * p - d * (k - 1) - 1) // s + 1
            for size, k, s, p, d in zip(
                x.shape[2:], kernel, self.stride, self.padding, self.dilation, strict=True
            )
        ]
        return self.emit(
            dialect.FAST_DECONV,
            (x, *self.parameters_of_node),
            (x.shape[0], self.weight.shape[0], *spatial),
            kernel_shape=kernel,
            strides=self.stride,
            pads=self.padding * 2,
            dilations=self.dilation,
            group=self.groups,
        )


class FastDeconvTransposeAdapter(WeightAdapter):
    """Stands in for a transposed convolution whose output patches are whitened.

    Args:
        weight: (C, C, kh, kw).
        bias: (C,) or None.
        mean: running mean, (F,).
        deconv: running D, (F, F).
        stride: one int a spatial axis, as are the three below.
        padding: cut off on both sides.
        dilation: distance of the kernel's taps.
        output_padding: added at the end of each axis.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        mean: Tensor,
        deconv: Tensor,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        output_padding: Sequence[int],
    ) -> None:
        super().__init__(weight, bias, mean, deconv)
        self.stride, self.padding, self.dilation = list(stride), list(padding), list(dilation)
        self.output_padding = list(output_padding)

    def forward(self, x: Tensor) -> Tensor:
        """Trace (N, C, H, W) to one NDFastDeconvTranspose."""
        kernel = list(self.weight.shape[2:])
        spatial = [
            (size - 1) * s - 2 * p + d * (k - 1) + extra + 1
            for size, k, s, p, d, extra in zip(
                x.shape[2:],
                kernel,
                self.stride,
                self.padding,
                self.dilation,
                self.output_padding,
                strict=True,
            )
        ]
        return self.emit(
            dialect.FAST_DECONV_TRANSPOSE,
            (x, *self.parameters_of_node),
            (x.shape[0], self.weight.shape[1], *spatial),
            kernel_shape=kernel,
            strides=self.stride,
            pads=self.padding * 2,
            dilations=self.dilation,
            output_padding=self.output_padding,
        )
