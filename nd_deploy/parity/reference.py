"""What PyTorch computes: the truth in float64, and how far its own float32 is from it.

Written into a bundle, it lets a machine without PyTorch check the deployed model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nd_deploy.errors import BundleError
from nd_deploy.parity.measure import worst_error

Array = NDArray[np.generic]
_SAMPLED = 1024


@dataclass(frozen=True)
class LayerReference:
    """One layer's output, sampled.

    Attributes:
        truth: up to 1024 entries of PyTorch's float64 output, evenly spaced, flattened.
        torch_error: of PyTorch's own float32 output on those entries.
    """

    truth: NDArray[np.float64]
    torch_error: float


@dataclass(frozen=True)
class Reference:
    """Inputs of a network and what PyTorch makes of them.

    Attributes:
        inputs: by name, in the network's dtypes.
        truth: the float64 outputs, in order.
        float32: the float32 outputs of the network as it was trained, in order.
        layers: by layer path.
    """

    inputs: Mapping[str, Array]
    truth: Sequence[NDArray[np.float64]]
    float32: Sequence[Array]
    layers: Mapping[str, LayerReference] = field(default_factory=dict)

    @property
    def torch_error(self) -> float:
        """Error of PyTorch's own float32 forward."""
        return worst_error(self.float32, self.truth)

    @property
    def samples(self) -> int:
        """How many inputs there are."""
        return len(next(iter(self.inputs.values())))

    def as_arrays(self) -> dict[str, Array]:
        """All of it as named arrays, for a bundle's reference.npz."""
        arrays: dict[str, Array] = {f"input/{name}": x for name, x in self.inputs.items()}
        for index, (truth, float32) in enumerate(zip(self.truth, self.float32, strict=True)):
            arrays[f"float64/{index}"] = truth
            arrays[f"float32/{index}"] = float32
        for path, layer in self.layers.items():
            arrays[f"layer/{path}"] = layer.truth
            arrays[f"layer_error/{path}"] = np.float64(layer.torch_error)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Reference:
        """The inverse of `as_arrays`.

        Raises:
            BundleError: inputs or outputs are missing.
        """
        inputs = _group(arrays, "input")
        truth, float32 = _group(arrays, "float64"), _group(arrays, "float32")
        layers, errors = _group(arrays, "layer"), _group(arrays, "layer_error")
        order = [str(index) for index in range(len(truth))]
        whole = truth.keys() == float32.keys() == set(order) and layers.keys() == errors.keys()
        if not inputs or not truth or not whole:
            raise BundleError(
                "reference.npz holds no inputs with their float64 and float32 outputs",
                "convert the checkpoint again",
            )
        return cls(
            inputs,
            [truth[index].astype(np.float64) for index in order],
            [float32[index] for index in order],
            {
                path: LayerReference(values.astype(np.float64), float(errors[path]))
                for path, values in layers.items()
            },
        )


def sample(output: Array) -> NDArray[np.float64]:
    """Up to 1024 evenly spaced entries of an output, flattened, float64."""
    flat = output.reshape(-1)
    chosen = np.linspace(0, flat.size - 1, min(flat.size, _SAMPLED)).astype(np.int64)
    return flat[chosen].astype(np.float64)


def _group(arrays: Mapping[str, Array], kind: str) -> dict[str, Array]:
    prefix = f"{kind}/"
    return {key[len(prefix) :]: value for key, value in arrays.items() if key.startswith(prefix)}
