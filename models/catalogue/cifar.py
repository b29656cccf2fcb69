"""Networks for 32x32 images."""

from ..info import ModelInfo

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


def _cifar(name: str, builder: str, note: str, *aliases: str) -> ModelInfo:
    return ModelInfo(name, builder, (3, 32, 32), _OPTIONS, "CIFAR-10, CIFAR-100", note, aliases)


CIFAR = (
    _cifar("vgg11", "vgg:vgg11", "VGG-11"),
    _cifar("vgg13", "vgg:vgg13", "VGG-13"),
    _cifar("vgg16", "vgg:vgg16", "VGG-16; in table 1 of the paper"),
    _cifar("vgg19", "vgg:vgg19", "VGG-19"),
    _cifar("resnet18", "resnet:resnet18", "ResNet-18; in table 1 of the paper", "resnet"),
    _cifar("resnet34", "resnet:resnet34", "ResNet-34"),
    _cifar("resnet50", "resnet:resnet50", "ResNet-50"),
    _cifar(
        "mobilenet_v2",
        "mobilenet_v2:mobilenet_v2",
        "MobileNet v2; in table 1 of the paper",
        "mobilev2",
    ),
)
