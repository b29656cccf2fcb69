"""The ND networks of the paper, each with its batch-normalised twin."""

from . import digits_data
from .infer import options_from_state_dict
from .registry import ModelInfo, build, describe, names

__all__ = ["ModelInfo", "build", "describe", "digits_data", "names", "options_from_state_dict"]
