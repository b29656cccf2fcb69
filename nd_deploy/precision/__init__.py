"""The float types that a model is stored and computed in."""

from nd_deploy.precision.cast import cast

__all__ = ["cast"]
