"""The ND networks of the paper, each with its batch-normalised twin."""

from . import digits_data
from .folder_name import FolderName, read_folder_name
from .identify import Identified, identify
from .infer import options_from_state_dict
from .info import Accuracy, ModelInfo
from .leftover import Leftover, leftovers, require_eps, require_finite
from .registry import build, describe, names

__all__ = [
    "Accuracy",
    "FolderName",
    "Identified",
    "Leftover",
    "ModelInfo",
    "build",
    "describe",
    "digits_data",
    "identify",
    "leftovers",
    "names",
    "options_from_state_dict",
    "read_folder_name",
    "require_eps",
    "require_finite",
]
