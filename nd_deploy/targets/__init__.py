"""What a host can read: one file serves nearly all of them, and the others get their own form."""

from nd_deploy.targets.forms import fit, portable
from nd_deploy.targets.target import TARGETS, Target, find_target

__all__ = ["TARGETS", "Target", "find_target", "fit", "portable"]
