"""What a ChannelDeconv reads in evaluation, which depends on the channels that reach it.

Those that fill blocks are whitened with D; the rest, C mod block of them, are standardised with
eps, which no state dict holds. Where the block is larger than C, D is never read and may be NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nd_deploy import compat
from nd_deploy.errors import CheckpointError

from .registry import describe
from .skeleton import skeleton

if TYPE_CHECKING:
    from torch import Tensor

    from nd_deploy.nd.layers import ChannelDeconv

# These are trained by one script each, which has no option for it: their default is what it was.
_FIXED_EPS = ("digits", "mlp")
_OF_WHOLE_BLOCKS = ("running_deconv", "running_mean1")
_OF_LEFTOVERS = ("running_mean2", "running_var")
_SHOWN = 3


@dataclass(frozen=True)
class Leftover:
    """A ChannelDeconv, and how many channels fill none of its blocks.

    Attributes:
        layer: its path in the network.
        channels: how many reach it.
        block: its block size.
    """

    layer: str
    channels: int
    block: int

    @property
    def left(self) -> int:
        """How many channels are left over."""
        return self.channels % self.block

    def unread(self) -> list[str]:
        """Keys of its buffers that have no effect in evaluation."""
        names = () if self.left else _OF_LEFTOVERS
        if self.channels < self.block:
            names = _OF_WHOLE_BLOCKS
        return [f"{self.layer}.{name}" for name in names]


def leftovers(name: str, **options: Any) -> list[Leftover]:  # noqa: ANN401
    """Finds the layers of a network whose output depends on eps in evaluation.

    Args:
        name: a name or an alias of the network.
        **options: as `build` takes them.

    Returns:
        The ChannelDeconvs with channels left over, in the order in which they are called.

    Raises:
        InputError: as `build` does.
        MissingDependencyError: torch is not installed.
    """
    return [layer for layer in _channel_deconvs(name, options) if layer.left]


def require_eps(name: str, options: Mapping[str, Any]) -> None:
    """Refuses to guess the eps of a trained network, where it matters.

    Args:
        name: a name or an alias of the network.
        options: what is known of how it was built.

    Raises:
        CheckpointError: layers depend on eps, and `options` do not hold it.
        InputError: as `build` does.
        MissingDependencyError: torch is not installed.
    """
    if "eps" in options or describe(name).name in _FIXED_EPS:
        return
    layers = leftovers(name, **options)
    if layers:
        named = [
            f"{layer.layer}, where blocks of {layer.block} leave {layer.left} of "
            f"{layer.channels} over"
            for layer in layers
        ]
        raise CheckpointError(
            f"{name} computes with an eps that no checkpoint holds: {_some(named, '; ')}",
            "give the one it was trained with:\n"
            "  --set eps=1e-5 for the default of the authors' main.py and main_imagenet.py\n"
            "  --set eps=1e-2 for the default of ChannelDeconv itself, as in the authors' MLP",
        )


def require_finite(name: str, options: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> None:
    """Refuses the NaN of a training that diverged, but not one that the network never reads.

    Args:
        name: a name or an alias of the network.
        options: how it was built.
        state_dict: its tensors.

    Raises:
        CheckpointError: a tensor that is read in evaluation holds a NaN or an infinity.
        InputError: as `build` does.
        MissingDependencyError: torch is not installed.
    """
    from nd_deploy.nd.checkpoint import find_non_finite

    damaged = find_non_finite(state_dict)
    if damaged:
        unread = {key for layer in _channel_deconvs(name, options) for key in layer.unread()}
        damaged = [key for key in damaged if key not in unread]
    if damaged:
        raise CheckpointError(
            f"NaN or Inf in what {name} computes with: {_some(damaged, ', ')}",
            "use a checkpoint that was saved before the training diverged",
        )


def _channel_deconvs(name: str, options: Mapping[str, Any]) -> list[Leftover]:
    """Every ChannelDeconv of a network, as a run without values finds it."""
    torch = compat.torch()
    from nd_deploy.nd.layers import ChannelDeconv

    network = skeleton(name, **options).eval()
    layers = {
        layer: path for path, layer in network.named_modules() if isinstance(layer, ChannelDeconv)
    }
    found: list[Leftover] = []

    def look(layer: ChannelDeconv, inputs: tuple[Tensor, ...]) -> None:
        found.append(Leftover(layers[layer], inputs[0].shape[1], layer.block))

    for layer in layers:
        layer.register_forward_pre_hook(look)
    if layers:
        with torch.no_grad():
            network(torch.empty(1, *describe(name).input_shape, device="meta"))
    return found


def _some(texts: list[str], separator: str) -> str:
    more = f"{separator}and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return separator.join(texts[:_SHOWN]) + more
