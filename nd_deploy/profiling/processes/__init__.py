"""Contestants in processes of their own, for those that cannot share one."""

from nd_deploy.profiling.processes.apart import why_apart
from nd_deploy.profiling.processes.errands import layers_in_child, peaks_in_child
from nd_deploy.profiling.processes.proxy import in_child

__all__ = ["in_child", "layers_in_child", "peaks_in_child", "why_apart"]
