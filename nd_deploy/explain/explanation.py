"""All that is explained at once, as numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from nd_deploy.explain.image_kernels import ImageKernels
from nd_deploy.explain.kernels import (
    FirstConvolution,
    shown_channels,
    shows_all_pairs,
    sums_of,
)
from nd_deploy.explain.record import Spectra

KIND = "nd-deploy explanation"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Explanation:
    """What there is to see of D.

    Attributes:
        subject: the network's name, where there is one.
        spectra: of the network, where there is one.
        images: the kernels of D from a folder of images, where there is one.
        total_images: how many that folder holds.
    """

    subject: str | None
    spectra: Spectra | None
    images: ImageKernels | None
    total_images: int = 0

    def notes(self) -> list[str]:
        """What a reader has to know about the images."""
        if self.images is None:
            return []
        found, notes = self.images, []
        taken = len(found.images) + len(found.left_out)
        if taken < self.total_images:
            notes.append(
                f"{taken} of the folder's {self.total_images} images were drawn, with seed "
                f"{found.settings.seed}"
            )
        if found.left_out:
            notes.append(
                f"{len(found.left_out)} of the images are grey and were left out: they tell "
                "nothing about colour"
            )
        few = sum(image.patches <= found.features for image in found.images)
        if few:
            notes.append(
                f"{few} of the images have no more patches than a patch has entries "
                f"({found.features}): their own kernels are decided by eps as well"
            )
        return notes

    def as_dict(self) -> dict[str, Any]:
        """The numbers behind the pictures, as JSON-ready fields."""
        spectra = self.spectra
        return {
            "kind": KIND,
            "schema_version": SCHEMA_VERSION,
            "subject": self.subject,
            "layers": [] if spectra is None else [layer.as_dict() for layer in spectra.layers],
            "first_convolution": None
            if spectra is None or spectra.first is None
            else _first_as_dict(spectra.first),
            "images": None if self.images is None else self.images.as_dict(),
            "notes": self.notes(),
        }


def _first_as_dict(first: FirstConvolution) -> dict[str, Any]:
    channels = shown_channels(first)
    kernels = first.kernels(channels)
    return {
        "layer": first.layer,
        "channels": first.channels,
        "kernel": list(first.kernel),
        "groups": first.groups,
        "blocks_that_share_d": first.shared_by,
        "shown": [
            {
                "channel": channel,
                **asdict(sums_of(whole, channel)),
                # Of many channels, most contribute nothing that could be seen.
                "kernels": (whole if shows_all_pairs(first) else whole[channel][None]).tolist(),
            }
            for channel, whole in zip(channels, kernels, strict=True)
        ],
    }
