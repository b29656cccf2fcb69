"""Networks for ImageNet."""

from ..info import Accuracy, ModelInfo

# The defaults of the authors' main_imagenet.py.
_OPTIONS = {
    "num_classes": 1000,
    "norm": "nd",
    "head": "delinear",
    "block": 64,
    "block_fc": 64,
    "eps": 1e-5,
    "n_iter": 5,
    "sampling_stride": 3,
}


def _imagenet(
    name: str, builder: str, arch: str, note: str, accuracy: tuple[Accuracy, ...] = ()
) -> ModelInfo:
    return ModelInfo(
        f"{name}_imagenet", builder, (3, 224, 224), _OPTIONS, "ImageNet", note, (arch,), accuracy
    )


def _table_2(top_1: tuple[float, float], top_5: tuple[float, float]) -> tuple[Accuracy, ...]:
    """Makes the rows of a network in table 2 of the paper: each (bn, nd), after 90 epochs."""
    return (
        Accuracy("ImageNet", "top-1", 90, *top_1),
        Accuracy("ImageNet", "top-5", 90, *top_5),
    )


IMAGENET = (
    _imagenet(
        "vgg11",
        "vgg_imagenet:vgg11",
        "vgg11d",
        # The authors' vgg11d without deconvolution has no normalisation at all.
        "Simonyan and Zisserman, 2015; norm=bn is torchvision's vgg11_bn",
        _table_2((70.38, 71.95), (89.81, 90.49)),
    ),
    _imagenet(
        "vgg16",
        "vgg_imagenet:vgg16",
        "vgg16d",
        "Simonyan and Zisserman, 2015; norm=bn is torchvision's vgg16_bn",
    ),
    _imagenet(
        "resnet18",
        "resnet_imagenet:resnet18",
        "resnet18d",
        "He et al., 2016",
        _table_2((69.76, 71.24), (89.08, 90.14)),
    ),
    _imagenet("resnet34", "resnet_imagenet:resnet34", "resnet34d", "He et al., 2016"),
    _imagenet("resnet50", "resnet_imagenet:resnet50", "resnet50d", "He et al., 2016"),
    _imagenet("resnet101", "resnet_imagenet:resnet101", "resnet101d", "He et al., 2016"),
    _imagenet(
        "resnext50", "resnet_imagenet:resnext50", "resnext50_32x4d", "Xie et al., 2017; 32x4d"
    ),
    _imagenet(
        "densenet121",
        "densenet_imagenet:densenet121",
        "densenet121d",
        "Huang et al., 2017",
        _table_2((74.65, 75.73), (92.17, 92.75)),
    ),
)
