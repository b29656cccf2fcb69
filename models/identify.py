"""Which network a state dict was saved from, and with which options."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

from nd_deploy.errors import CheckpointError

from .folder_name import DATASETS, FolderName, read_folder_name
from .infer import MisfitError, Shapes, fit, shapes_of
from .info import CHOICES
from .registry import describe, names
from .skeleton import skeleton

if TYPE_CHECKING:
    from torch import Tensor

# The authors' scripts build these without passing their options on.
_UNHEEDING = ("mlp",)
_NEAREST = 3
_NAME_ONE = "name the network: nd-deploy convert NAME --checkpoint FILE"
_BUILD_IT = (
    "see 'nd-deploy models' for the networks there are; for one of your own, name what builds it: "
    "nd-deploy convert package.module:callable --checkpoint FILE"
)


@dataclass(frozen=True)
class Identified:
    """What is known of the network that a state dict was saved from.

    Attributes:
        name: of the network.
        options: told by the tensors or by the name of the folder; `build(name, **options)` makes
            a network that the state dict fits. Without eps, n_iter and sampling_stride where no
            folder tells them.
        from_folder: those of the options that the folder's name tells and the tensors do not.
        input_shape: channels, height and width of one input.
        notes: where the file's own word or its folder's name contradict the tensors.
    """

    name: str
    options: Mapping[str, Any]
    from_folder: Mapping[str, Any]
    input_shape: tuple[int, int, int]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Hint:
    """A name for the network, and who says it."""

    arch: str
    origin: str

    def means(self, name: str) -> bool:
        info = describe(name)
        # main_imagenet.py calls torchvision's networks, which are the twins, by plain names.
        return self.arch in (info.name, *info.aliases) or f"{self.arch}_imagenet" == info.name


def identify(
    state_dict: Mapping[str, Tensor],
    *,
    name: str | None = None,
    arch: str | None = None,
    path: str | PathLike[str] | None = None,
) -> Identified:
    """Finds the network that a state dict was saved from, and with which options.

    Keys and shapes decide. The checkpoint's own word and the name of its folder are believed where
    those leave a choice, and noted where they contradict.

    Args:
        state_dict: tensors, or anything with a shape, by official key without a prefix.
        name: the network, or an alias of it, if it is known.
        arch: what the checkpoint says it is.
        path: of the checkpoint; the official name of a folder above it tells options.

    Raises:
        InputError: there is no network called `name`.
        CheckpointError: the state dict fits no network, or not that of `name`, or several.
        MissingDependencyError: torch is not installed.
    """
    shapes = shapes_of(state_dict)
    folder = None if path is None else read_folder_name(path)
    hints = [] if arch is None else [_Hint(arch, "the checkpoint's arch")]
    if folder is not None:
        hints.append(_Hint(folder.arch, "the folder's name"))
    if name is None:
        found, options = _search(shapes, hints)
    else:
        found = describe(name).name
        options = _fit_named(found, shapes)
    notes = [
        f"{hint.origin} says {hint.arch}, but the tensors are those of {found}"
        for hint in hints
        if not hint.means(found)
    ]
    told, contradictions = _believe(found, shapes, options, folder)
    return Identified(
        found,
        {**options, **told},
        told,
        _input_shape(found, folder),
        (*notes, *contradictions),
    )


def _search(shapes: Shapes, hints: list[_Hint]) -> tuple[str, dict[str, Any]]:
    for hint in hints:
        fits = _fits([name for name in names() if hint.means(name)], shapes)
        if len(fits) == 1:
            return fits.popitem()
    weights = _weights(shapes)
    fits = _fits([name for name in names() if weights in _weights_of(name)], shapes)
    if not fits:
        raise CheckpointError(_no_fit(shapes), _BUILD_IT)
    if len(fits) > 1:
        raise CheckpointError(f"the state dict fits {' and '.join(fits)}", _NAME_ONE)
    return fits.popitem()


def _fits(candidates: list[str], shapes: Shapes) -> dict[str, dict[str, Any]]:
    """The networks that a state dict fits, each with its options."""
    fits = {}
    for name in candidates:
        try:
            fits[name] = fit(name, shapes)
        except MisfitError:
            # Not this one: that is what was to be found out.
            continue
    return fits


def _fit_named(name: str, shapes: Shapes) -> dict[str, Any]:
    try:
        return fit(name, shapes)
    except MisfitError as misfit:
        problem = f"the state dict is not one of {name}: {misfit.difference}"
        try:
            other, _ = _search(shapes, [])
        except CheckpointError:
            raise CheckpointError(problem, misfit.remedy) from None
        raise CheckpointError(problem, f"it is one of {other}: name that network") from None


def _believe(
    name: str, shapes: Shapes, options: Mapping[str, Any], folder: FolderName | None
) -> tuple[dict[str, Any], list[str]]:
    """Options from the folder's name that the tensors leave open, and those they contradict."""
    if folder is None or name in _UNHEEDING:
        return {}, []
    said = {
        option: value
        for option, value in folder.options.items()
        if option in describe(name).options and options.get(option) != value
    }
    told: dict[str, Any] = {}
    contradicted = {}
    for option, value in said.items():
        changed = {**options, **told, option: value}
        if shapes_of(skeleton(name, **changed).state_dict()) == shapes:
            told[option] = value
        else:
            contradicted[option] = value
    dataset = DATASETS.get(folder.dataset)
    if dataset is not None and dataset.num_classes != options["num_classes"]:
        contradicted["num_classes"] = dataset.num_classes
    return told, [
        f"the folder's name says {option}={value}, but the tensors say {options[option]}"
        for option, value in contradicted.items()
    ]


def _input_shape(name: str, folder: FolderName | None) -> tuple[int, int, int]:
    """What one input is: networks for ImageNet are trained on smaller images too."""
    usual = describe(name).input_shape
    dataset = DATASETS.get(folder.dataset) if folder is not None else None
    shape = None if dataset is None else dataset.input_shape
    return usual if shape is None or shape[0] != usual[0] else shape


def _weights(shapes: Shapes) -> Counter[tuple[int, ...]]:
    """What the weights of a network read: the same for both kinds and for every head."""
    return Counter(
        shape[1:] for key, shape in shapes.items() if key.endswith(".weight") and len(shape) > 1
    )


@functools.cache
def _weights_of(name: str) -> tuple[Counter[tuple[int, ...]], ...]:
    """The weights that a network may have, of which one skeleton each is enough to know."""
    adding = CHOICES["aux"] if "aux" in describe(name).options else (None,)
    return tuple(
        _weights(shapes_of(skeleton(name, **({"aux": aux} if aux else {})).state_dict()))
        for aux in adding
    )


def _no_fit(shapes: Shapes) -> str:
    """Tells how a state dict differs from the networks whose weights are most like its own."""
    weights = _weights(shapes)

    def likeness(name: str) -> float:
        return max(
            2 * (known & weights).total() / (known.total() + weights.total())
            for known in _weights_of(name)
        )

    near = sorted(filter(likeness, names()), key=likeness, reverse=True)
    lines = ["the state dict fits no network of nd_deploy.models"]
    for name in near[:_NEAREST]:
        try:
            fit(name, shapes)
        except MisfitError as misfit:
            lines.append(f"  {name}: {misfit.difference}")
    return "\n".join(lines)
