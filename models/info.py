"""What is known of a network without building it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CHOICES = {
    "norm": ("nd", "bn"),
    "head": ("linear", "delinear", "channel_deconv"),
    "backbone": ("nd", "bn"),
    "aux": ("off", "on"),
}
"""The values of the options that are words; every other option is a positive number."""

MEANINGS = {
    "num_classes": "how many logits",
    "norm": "nd: deconvolution; bn: the batch-normalised twin",
    "head": "the classifier; channel_deconv: a ChannelDeconv before a plain linear layer",
    "backbone": "bn leaves the backbone of an nd network batch-normalised",
    "aux": "on: with the auxiliary classifier",
    "block": "channels that are whitened together in a convolution",
    "block_fc": "features that are whitened together in the head",
    "eps": "added to the covariance, and to the variance of channels left over",
    "n_iter": "Newton-Schulz steps in training",
    "sampling_stride": "every how many-th patch enters the statistics in training",
}
"""What each option decides."""


@dataclass(frozen=True)
class Accuracy:
    """A row of the paper's tables: what the network reached in both kinds.

    Attributes:
        dataset: what it was trained and tested on.
        metric: "top-1" or "top-5", in percent.
        epochs: how long it was trained.
        bn: of the batch-normalised twin.
        nd: of the ND network.
    """

    dataset: str
    metric: str
    epochs: int
    bn: float
    nd: float


@dataclass(frozen=True)
class ModelInfo:
    """A network that can be built.

    Attributes:
        name: what `build` takes.
        builder: `module:function` below `nd_deploy.models`; called with every option by name.
        input_shape: channels, height and width of one input.
        options: what `build` takes besides the name, with defaults; `MEANINGS` explains them.
        dataset: what it is trained on.
        note: where it comes from.
        aliases: further names, such as those of the authors' `--arch`.
        accuracy: what the paper reports.
    """

    name: str
    builder: str
    input_shape: tuple[int, int, int]
    options: Mapping[str, Any] = field(hash=False)
    dataset: str
    note: str
    aliases: tuple[str, ...] = ()
    accuracy: tuple[Accuracy, ...] = ()

    @property
    def num_classes(self) -> int:
        """How many logits it has unless told otherwise."""
        return int(self.options["num_classes"])
