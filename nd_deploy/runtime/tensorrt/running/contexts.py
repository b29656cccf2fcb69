"""Execution contexts: what an engine works with."""

from __future__ import annotations

from typing import Any

from nd_deploy.compat import cuda_errors
from nd_deploy.compat.cuda import Cuda
from nd_deploy.errors import BackendError
from nd_deploy.runtime.tensorrt.running.engine_loading import LoadedEngine
from nd_deploy.runtime.tensorrt.running.refusal import is_memory


def create_context(loaded: LoadedEngine, cuda: Cuda) -> Any:  # noqa: ANN401
    """Make an engine ready to run.

    Args:
        loaded: the engine.
        cuda: how to call CUDA; its device is set already.

    Returns:
        An IExecutionContext.

    Raises:
        BackendError: the GPU has too little memory for it, or TensorRT fails.
    """
    needed = loaded.facts.device_memory
    purpose = "the engine to work in"
    free, total = cuda.memory()
    if needed > free:
        raise cuda_errors.out_of_memory(needed, free, total, purpose)
    loaded.messages.clear()
    context = loaded.engine.create_execution_context()
    if context is not None:
        return context
    if is_memory(loaded.messages):
        raise cuda_errors.out_of_memory(needed, *cuda.memory(), purpose)
    raise BackendError(
        f"TensorRT cannot prepare to run the engine: {loaded.messages.errors()}",
        "'nd-deploy doctor' shows what is here, and 'nvidia-smi' what else uses the GPU",
    )
