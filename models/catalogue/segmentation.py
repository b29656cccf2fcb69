"""Networks for semantic segmentation."""

from ..info import ModelInfo

# The defaults of the authors' Segmentation/train.py and of its datasets.
_OPTIONS = {
    "num_classes": 21,
    "norm": "nd",
    "backbone": "nd",
    "aux": "off",
    "block": 64,
    "eps": 1e-5,
    "n_iter": 5,
    "sampling_stride": 3,
}

# What the authors train on; any height and width will do.
_CROP = (3, 480, 480)


def _segmentation(name: str, note: str) -> ModelInfo:
    aliases = (f"{name}d",)
    return ModelInfo(name, f"segmentation:{name}", _CROP, _OPTIONS, "Cityscapes", note, aliases)


SEGMENTATION = (
    _segmentation("fcn_resnet50", "Long et al., 2015; dilated ResNet-50"),
    _segmentation("fcn_resnet101", "Long et al., 2015; dilated ResNet-101"),
    _segmentation("deeplabv3_resnet50", "Chen et al., 2017; dilated ResNet-50"),
    _segmentation("deeplabv3_resnet101", "Chen et al., 2017; dilated ResNet-101"),
)
