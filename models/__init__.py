"""The ND networks of the paper, each with its batch-normalised twin."""

from . import digits_data
from .infer import options_from_state_dict
from .info import Accuracy, ModelInfo
from .registry import build, describe, names

__all__ = [
    "Accuracy",
    "ModelInfo",
    "build",
    "describe",
    "digits_data",
    "names",
    "options_from_state_dict",
]
