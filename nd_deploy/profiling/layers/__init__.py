"""Times of single layers, from runs of their own that are never part of a latency."""

from nd_deploy.profiling.layers.groups import by_nd_layer
from nd_deploy.profiling.layers.times import layer_times

__all__ = ["by_nd_layer", "layer_times"]
