"""What every runtime offers: it runs a model on arrays and says what it ran it with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Receipt:
    """What a model was run with, as found out after the fact and not as asked.

    Attributes:
        runtime: the runtime's name.
        version: its version.
        providers_asked: the execution providers asked for, best first.
        providers_got: those the runtime set up.
        options: what else was set, by name.
        threads: of one operator; None if the runtime chose.
        tf32: whether float32 products may be computed in TF32; None if the runtime does not tell.
        placement: how many nodes each provider was given; empty if there is one, or the runtime
            does not tell.
        files: the sha256 of every file of code that was loaded on request, such as a plugin
            library, by its path.
    """

    runtime: str
    version: str
    providers_asked: tuple[str, ...]
    providers_got: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)
    threads: int | None = None
    tf32: bool | None = None
    placement: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


class Runner(Protocol):
    """A model loaded into a runtime."""

    @property
    def receipt(self) -> Receipt:
        """What the model runs with."""

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the model once.

        Args:
            feeds: every input by name, in the model's dtypes and shapes.

        Returns:
            Every output by name.

        Raises:
            InputError: an input is missing, unknown, or of another dtype or shape.
            BackendError: the runtime failed.
        """
