"""Every network there is. A new one is a file with its builder and an entry in one of these.

Nothing here imports torch, so that the list can be read where none is installed.
"""

from ..info import ModelInfo
from .cifar import CIFAR
from .imagenet import IMAGENET
from .segmentation import SEGMENTATION
from .small import SMALL

NETWORKS: tuple[ModelInfo, ...] = (*SMALL, *CIFAR, *IMAGENET, *SEGMENTATION)
"""In the order in which they are listed."""
