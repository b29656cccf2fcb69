"""Networks for 32x32 images."""

from ..info import Accuracy, ModelInfo

# The defaults of the authors' main.py, but for block_fc: there 0 stands for a plain linear head,
# and 512 is what their README trains with.
_OPTIONS = {
    "num_classes": 10,
    "norm": "nd",
    "head": "linear",
    "block": 64,
    "block_fc": 512,
    "eps": 1e-5,
    "n_iter": 5,
    "sampling_stride": 3,
}

# After 100 epochs, CIFAR-10 BN and ND, CIFAR-100 BN and ND: table 1 of the paper, as quoted by
# Obadage et al., 2024.
_TABLE_1 = {
    "vgg16": (93.58, 94.56, 72.75, 75.32),
    "resnet18": (94.87, 95.40, 77.70, 78.63),
    "preact_resnet18": (94.37, 95.44, 76.14, 79.14),
    "densenet121": (94.71, 95.88, 77.99, 80.69),
    "resnext29": (95.15, 95.80, 78.60, 80.34),
    "mobilenet_v2": (90.51, 94.35, 67.52, 74.90),
    "dpn92": (95.14, 95.82, 78.87, 80.38),
    "pnasnet_a": (81.22, 84.45, 54.52, 59.44),
    "senet18": (94.57, 95.38, 76.41, 78.63),
    "efficientnet_b0": (86.07, 88.42, 59.09, 62.37),
}


def _cifar(name: str, file: str, source: str, *aliases: str) -> ModelInfo:
    """Describes a network whose builder is called as it is."""
    return ModelInfo(
        name,
        f"{file}:{name}",
        (3, 32, 32),
        _OPTIONS,
        "CIFAR-10, CIFAR-100",
        source,
        aliases,
        _accuracy(name),
    )


def _accuracy(name: str) -> tuple[Accuracy, ...]:
    if name not in _TABLE_1:
        return ()
    bn_10, nd_10, bn_100, nd_100 = _TABLE_1[name]
    return (
        Accuracy("CIFAR-10", "top-1", 100, bn_10, nd_10),
        Accuracy("CIFAR-100", "top-1", 100, bn_100, nd_100),
    )


CIFAR = (
    _cifar("vgg11", "vgg", "Simonyan and Zisserman, 2015"),
    _cifar("vgg13", "vgg", "Simonyan and Zisserman, 2015"),
    _cifar("vgg16", "vgg", "Simonyan and Zisserman, 2015"),
    _cifar("vgg19", "vgg", "Simonyan and Zisserman, 2015"),
    _cifar("resnet18", "resnet", "He et al., 2016", "resnet"),
    _cifar("resnet34", "resnet", "He et al., 2016"),
    _cifar("resnet50", "resnet", "He et al., 2016"),
    _cifar("preact_resnet18", "preact_resnet", "He et al., 2016, identity mappings", "preact"),
    _cifar("senet18", "senet", "Hu et al., 2018", "senet"),
    _cifar("resnext29", "resnext", "Xie et al., 2017; 32x4d", "resnext"),
    _cifar("densenet121", "densenet", "Huang et al., 2017"),
    _cifar("dpn92", "dpn", "Chen et al., 2017", "dpn"),
    _cifar("mobilenet_v2", "mobilenet_v2", "Sandler et al., 2018", "mobilev2"),
    _cifar("pnasnet_a", "pnasnet", "Liu et al., 2018; the paper's PNASNet-18", "pnasnetA"),
    _cifar("pnasnet_b", "pnasnet", "Liu et al., 2018", "pnasnetB"),
    _cifar("efficientnet_b0", "efficientnet", "Tan and Le, 2019", "efficient"),
)
