"""Networks that have shapes but neither memory nor values, in a fraction of the time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nd_deploy import compat

from .registry import build

if TYPE_CHECKING:
    from torch import nn
    from torch.overrides import TorchFunctionMode


def skeleton(name: str, **options: Any) -> nn.Module:  # noqa: ANN401
    """Builds a network on the meta device.

    Args:
        name: as `build` takes it.
        **options: as `build` takes them.

    Raises:
        InputError: as `build` does.
        MissingDependencyError: torch is not installed.
    """
    with compat.torch().device("meta"), _without_values():
        return build(name, **options)


def _without_values() -> TorchFunctionMode:
    """A mode in which initial values, which a skeleton cannot have, are not computed either.

    PyTorch composes an identity of several operations and every draw of another; together they
    are three quarters of the time that a network takes.
    """
    torch = compat.torch()

    class WithoutValues(torch.overrides.TorchFunctionMode):  # type: ignore[misc,name-defined]
        def __torch_function__(
            self,
            function: Any,  # noqa: ANN401
            types: object,
            args: tuple[Any, ...] = (),
            kwargs: Mapping[str, Any] | None = None,
        ) -> Any:  # noqa: ANN401
            named = kwargs or {}
            if function is torch.eye:
                return torch.empty(args[0], args[0])
            if getattr(function, "__module__", None) == "torch.nn.init":
                return args[0] if args else named["tensor"]
            return function(*args, **named)

    return WithoutValues()
