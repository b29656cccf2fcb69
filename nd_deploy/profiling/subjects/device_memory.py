"""By how much the memory in use grows while a model is opened and run."""

from __future__ import annotations

from dataclasses import dataclass

from nd_deploy.compat.cuda import Cuda
from nd_deploy.memory import release_freed_memory
from nd_deploy.profiling.subjects.host import HOST, resident_bytes

DEVICE = "device"
"""The key of `Subject.memory` for the GPU's memory."""


@dataclass(frozen=True)
class MemoryMark:
    """The memory in use at some moment.

    Attributes:
        resident: of the process, in the computer's memory, in bytes.
        free: of the GPU's memory, in bytes; a GPU that shares the computer's has one for both.
    """

    resident: int
    free: int

    @classmethod
    def now(cls, cuda: Cuda) -> MemoryMark:
        """Set a mark.

        Raises:
            BackendError: CUDA failed.
        """
        release_freed_memory()
        free, _ = cuda.memory()
        return cls(resident_bytes(), free)

    def growth(self, cuda: Cuda) -> dict[str, int]:
        """Bytes that have come into use since, on the host and on the device; 0 for fewer.

        Raises:
            BackendError: CUDA failed.
        """
        free, _ = cuda.memory()
        return {
            HOST: max(0, resident_bytes() - self.resident),
            DEVICE: max(0, self.free - free),
        }
