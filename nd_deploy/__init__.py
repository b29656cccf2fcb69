"""Put networks trained with Network Deconvolution into production.

The whole way is `convert`; its steps are `recognise`, `export` and `run_passes`, and `verify`
checks the result again. `build` makes a TensorRT engine of a bundle, `open_runner` opens a model in
any runtime, and `profile` measures how long that takes. Each is imported when it is first used,
since some need PyTorch and others must work without it.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

# ONNX Runtime's wheels send telemetry unless this is set before their first import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"

if TYPE_CHECKING:
    from nd_deploy.bundle import Bundle, read_bundle
    from nd_deploy.conversion import convert
    from nd_deploy.errors import NdDeployError
    from nd_deploy.exporter import export
    from nd_deploy.nd.checkpoint import load_into, read_checkpoint
    from nd_deploy.nd.recognise import recognise
    from nd_deploy.parity.verify import verify
    from nd_deploy.passes.pipeline import run_passes
    from nd_deploy.profiling.run import profile
    from nd_deploy.runtime.choose import open_runner
    from nd_deploy.runtime.tensorrt.from_bundle import build

__all__ = [
    "Bundle",
    "NdDeployError",
    "build",
    "convert",
    "export",
    "load_into",
    "open_runner",
    "profile",
    "read_bundle",
    "read_checkpoint",
    "recognise",
    "run_passes",
    "verify",
]

_HOMES = {
    "Bundle": "nd_deploy.bundle",
    "NdDeployError": "nd_deploy.errors",
    "build": "nd_deploy.runtime.tensorrt.from_bundle",
    "convert": "nd_deploy.conversion",
    "export": "nd_deploy.exporter",
    "load_into": "nd_deploy.nd.checkpoint",
    "open_runner": "nd_deploy.runtime.choose",
    "profile": "nd_deploy.profiling.run",
    "read_bundle": "nd_deploy.bundle",
    "read_checkpoint": "nd_deploy.nd.checkpoint",
    "recognise": "nd_deploy.nd.recognise",
    "run_passes": "nd_deploy.passes.pipeline",
    "verify": "nd_deploy.parity.verify",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the module holds
    if name not in _HOMES:
        raise AttributeError(f"module 'nd_deploy' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
