"""How tritonserver is started, in whatever container: flags, environment and limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from nd_deploy.serve.exchange import ModelSpec
from nd_deploy.serve.protocol.datatypes import item_size
from nd_deploy.serve.settings import Settings
from nd_deploy.triton.accelerators import TENSORRT
from nd_deploy.triton.config import Hosting

ADMIN_KEY = "TRITON_ADMIN_KEY"
"""The variable of what a client has to send as `admin-key` to reach what is restricted."""

USER = 1000
"""The user "triton-server" of NVIDIA's images."""

METRICS_PORT = 8002
DRAIN_SECONDS = round(Settings.drain_timeout)
"""How long requests under way may take once the server is told to end."""
GRACE_SECONDS = DRAIN_SECONDS + 10
LOAD_SECONDS, BUILD_SECONDS = 300, 3600
"""How long a model may take to be ready, and one whose engines are built first."""

# Whoever reaches these can read memory, change models and write files.
_RESTRICTED = "shared-memory,model-repository,trace,logging"
_GIB = 2**30


@dataclass(frozen=True)
class Resources:
    """What a container may take.

    Attributes:
        cpus: processors.
        memory_gib: of main memory.
        gpus: of NVIDIA's.
    """

    cpus: int
    memory_gib: int
    gpus: int


def flags(
    model: ModelSpec,
    hosting: Hosting,
    repository: str,
    http_port: int,
    grpc_port: int,
    key: str,
    portable_version: bool = False,
) -> list[str]:
    """The command line of tritonserver.

    Args:
        model: that is served.
        hosting: how it is run.
        repository: its folder in the container.
        http_port: of REST.
        grpc_port: of gRPC.
        key: how the admin key's variable is written there.
        portable_version: whether a plan is of another version of TensorRT.
    """
    body = max(Settings.body_limit, _input_bytes(model, hosting) * 5 // 4)
    backend = ["--backend-config=tensorrt,version-compatible=true"] if portable_version else []
    return [
        "tritonserver",
        f"--model-repository={repository}",
        f"--http-port={http_port}",
        f"--grpc-port={grpc_port}",
        f"--metrics-port={METRICS_PORT}",
        "--model-control-mode=none",
        "--disable-auto-complete-config",
        "--strict-readiness=true",
        f"--exit-timeout-secs={DRAIN_SECONDS}",
        f"--http-max-input-size={body}",
        f"--http-restricted-api={_RESTRICTED}:admin-key={key}",
        f"--grpc-restricted-protocol={_RESTRICTED}:admin-key={key}",
        *backend,
    ]


def environment(hosting: Hosting) -> Mapping[str, str]:
    """The variables that it is started with."""
    variables = {"ORT_DISABLE_TELEMETRY": "1"}
    if hosting.accelerator == TENSORRT and not hosting.tf32:
        # ONNX Runtime's TensorRT provider has no option for it.
        variables["NVIDIA_TF32_OVERRIDE"] = "0"
    return variables


def resources(hosting: Hosting, model_bytes: int) -> Resources:
    """What a server of one model takes.

    Args:
        hosting: how it is run.
        model_bytes: the size of its files.
    """
    memory = 2 + -(-4 * hosting.instances * model_bytes // _GIB)
    threads = 1 if hosting.on_gpu else hosting.threads
    # One more for the protocols, since ONNX Runtime's threads are busy while a model runs.
    return Resources(hosting.instances * threads + 1, memory, int(hosting.on_gpu))


def seconds_to_ready(hosting: Hosting) -> int:
    """How long to wait for the model before giving up."""
    return BUILD_SECONDS if hosting.accelerator == TENSORRT else LOAD_SECONDS


def _input_bytes(model: ModelSpec, hosting: Hosting) -> int:
    """The size of the inputs of a largest batch, in the samples' shape."""
    return max(1, model.max_batch) * sum(
        item_size(tensor.datatype) * math.prod(hosting.samples[tensor.name])
        for tensor in model.inputs
    )
