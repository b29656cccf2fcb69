"""A trained network made ready to be run as a bundle runs it."""

from __future__ import annotations

from torch import nn

from nd_deploy.bundle.manifest import BATCH
from nd_deploy.nd.batch_statistics import batch_statistics_twin, on_batch_statistics
from nd_deploy.nd.recognise import recognise
from nd_deploy.nd.twin import float32_copy


def on_one_device(module: nn.Module) -> nn.Module:
    """The network that DataParallel wraps, if it does, so that it can be run on the CPU."""
    return module.module if isinstance(module, nn.DataParallel) else module


def ready_to_run(module: nn.Module, statistics: str) -> nn.Module:
    """Copy a network to the CPU, in float32 and eval mode, sharing its weights.

    Args:
        module: in any mode and on any device; not changed.
        statistics: what its ND layers whiten by, one of `nd_deploy.bundle.manifest.STATISTICS`.

    Returns:
        The copy. With statistics of the batch, its ND layers take them in eval mode too.

    Raises:
        UnsupportedLayerError: a layer cannot be run on the statistics of the batch.
        InputError: the network holds something that cannot be copied.
    """
    module = on_one_device(module)
    if statistics != BATCH:
        return float32_copy(module)
    return batch_statistics_twin(module, on_batch_statistics(module, recognise(module)))
