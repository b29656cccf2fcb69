"""What the folder of a checkpoint tells: the authors' scripts write their options into its name.

    main.py           cifar10,vgg11,ep.20,SGD,0.1,cosine,bs.128,wd.0.001,bn.True,deconv.True,
                      delinear.True,b.64,stride.3,it.5,eps.1e-05,bias.True,bfc.512
    main_imagenet.py  imagenet,resnet18d,ep:90,0.1,cosine,wd:0.0001,bs:256,seed:None,deconv:True,
                      delinear:True,stride:3,b:64,it:5,eps:1e-05,bias:True,bfc:64
    train.py          cityscapes,fcn_resnet50d,aux:False,ep:30,0.1,bs:8,deconv:True,blk:64,it:5,
                      eps:1e-05,bias:True,size:520,pt:False,pt_bb:False

The checkpoint lies in a folder below, which is named after the time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

_FIELD = re.compile(r"(?P<key>[a-z_]+)[.:](?P<value>.+)")
_BOOLEANS = {"True": True, "1": True, "False": False, "0": False}
# What a folder has to be called after to be one of theirs.
_ESSENTIAL = ("ep", "bs", "deconv", "eps")

_COUNTS = {"b": "block", "blk": "block", "bfc": "block_fc", "it": "n_iter",
           "stride": "sampling_stride"}  # fmt: skip


@dataclass(frozen=True)
class Dataset:
    """What a data set that the authors' scripts know decides about a network.

    Attributes:
        num_classes: how many logits.
        input_shape: channels, height and width, where the script fixes them.
    """

    num_classes: int
    input_shape: tuple[int, int, int] | None


DATASETS: Mapping[str, Dataset] = {
    "cifar10": Dataset(10, (3, 32, 32)),
    "cifar100": Dataset(100, (3, 32, 32)),
    "svhn": Dataset(10, (3, 32, 32)),
    "stl10": Dataset(10, (3, 96, 96)),
    "imagenet16": Dataset(1000, (3, 16, 16)),
    "imagenet32": Dataset(1000, (3, 32, 32)),
    "mnist": Dataset(10, (1, 28, 28)),
    "fashion": Dataset(10, (1, 28, 28)),
    "imagenet": Dataset(1000, (3, 224, 224)),
    "cityscapes": Dataset(21, None),
    "voc": Dataset(21, None),
    "voc_aug": Dataset(21, None),
}
"""By the names of the authors' `--dataset`."""


@dataclass(frozen=True)
class FolderName:
    """An official folder name.

    Attributes:
        text: the name.
        dataset: `--dataset`.
        arch: `--arch`, or `--model` of the segmentation.
        options: what it says about options of `build`; no more than the name holds.
    """

    text: str
    dataset: str
    arch: str
    options: Mapping[str, Any]


def read_folder_name(path: str | PathLike[str]) -> FolderName | None:
    """Reads the nearest official name among the folders above a file.

    Args:
        path: of a checkpoint, or of the folder itself; need not exist.

    Returns:
        What the name says, or None where no folder has one.
    """
    given = Path(path)
    for base in (given.absolute(), given.resolve()):
        for folder in (base, *base.parents):
            found = _parse(folder.name)
            if found is not None:
                return found
    return None


def _parse(text: str) -> FolderName | None:
    dataset, _, rest = text.partition(",")
    arch, _, rest = rest.partition(",")
    fields = {
        match["key"]: match["value"] for match in map(_FIELD.fullmatch, rest.split(",")) if match
    }
    if not (dataset and arch and all(key in fields for key in _ESSENTIAL)):
        return None
    return FolderName(text, dataset, arch, _options(fields, arch))


def _options(fields: Mapping[str, str], arch: str) -> dict[str, Any]:
    """Translates fields, leaving out those of an unexpected form."""
    flags = {key: _BOOLEANS[value] for key, value in fields.items() if value in _BOOLEANS}
    options: dict[str, Any] = {}
    if "deconv" in flags:
        options["norm"] = "nd" if flags["deconv"] else "bn"
    if "aux" in flags:
        options["aux"] = "on" if flags["aux"] else "off"
        # In the segmentation alone a trailing d tells whether the backbone is deconvolved too.
        options["backbone"] = "nd" if arch.endswith("d") else "bn"
    if "delinear" in flags and fields.get("bfc", "").isdecimal():
        kinds = ("channel_deconv", "delinear") if int(fields["bfc"]) else ("linear", "linear")
        options["head"] = kinds[flags["delinear"]]
    for key, option in _COUNTS.items():
        if fields.get(key, "").isdecimal() and int(fields[key]):
            options[option] = int(fields[key])
    eps = _positive(fields["eps"])
    return options if eps is None else {**options, "eps": eps}


def _positive(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None
