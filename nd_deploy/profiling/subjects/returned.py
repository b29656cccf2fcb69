"""What a network of PyTorch's returns, as a model's outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


def tensors_in(returned: object) -> list[Tensor]:
    """The tensors of what a network returns, in the order in which the exporter lists them."""
    from torch import Tensor
    from torch.utils._pytree import tree_leaves

    return [leaf for leaf in tree_leaves(returned) if isinstance(leaf, Tensor)]


def as_outputs(tensors: Sequence[Tensor]) -> dict[str, NDArray[Any]]:
    """Copies of tensors on the processor, called as outputs are that have no name of their own.

    Copies, since a network may return a buffer that its next call writes to.
    """
    from nd_deploy.port_names import output_names

    names = output_names([(place,) for place in range(len(tensors))], taken=())
    arrays = (tensor.detach().numpy().copy() for tensor in tensors)
    return dict(zip(names, arrays, strict=True))
