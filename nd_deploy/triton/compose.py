"""A Compose file that serves the repository on one machine."""

from __future__ import annotations

from nd_deploy import yaml_text
from nd_deploy.serve.exchange import ModelSpec
from nd_deploy.triton import server
from nd_deploy.triton.accelerators import ENGINES, TENSORRT
from nd_deploy.triton.config import Hosting
from nd_deploy.yaml_text import Value

COMPOSE = "compose.yaml"

_HTTP, _GRPC = 8000, 8001
_REPOSITORY = "/models"
_INTERVAL = 5
_ASK = (
    "import urllib.request; "
    f"urllib.request.urlopen('http://127.0.0.1:{_HTTP}/v2/health/ready', timeout=3)"
)
_HARDENED: dict[str, Value] = {
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
}


def compose_file(
    model: ModelSpec,
    hosting: Hosting,
    image: str,
    resources: server.Resources,
    portable_version: bool = False,
) -> str:
    """The text of a Compose file that lies in the repository.

    Args:
        model: that is served.
        hosting: how it is run.
        image: of Triton.
        resources: that the container may take.
        portable_version: whether a plan is of another version of TensorRT.
    """
    key = f"${{{server.ADMIN_KEY}:?set it to a secret}}"
    flags = server.flags(
        model, hosting, _REPOSITORY, _HTTP, _GRPC, key, portable_version=portable_version
    )
    triton: dict[str, Value] = {
        "image": image,
        "command": flags,
        "user": f"{server.USER}:{server.USER}",
        **_HARDENED,
        "environment": dict(server.environment(hosting)),
        # Whoever is to reach them from elsewhere comes by way of a proxy with authentication.
        "ports": [f"127.0.0.1:{port}:{port}" for port in (_HTTP, _GRPC, server.METRICS_PORT)],
        "volumes": [f"./{model.name}:{_REPOSITORY}/{model.name}:ro"],
        "deploy": {"resources": _resources(resources)},
        "healthcheck": _health(hosting),
        "stop_grace_period": f"{server.GRACE_SECONDS}s",
        "restart": "unless-stopped",
    }
    services: dict[str, Value] = {"triton": triton}
    document: dict[str, Value] = {"services": services}
    if hosting.accelerator == TENSORRT:
        triton["volumes"] = [f"./{model.name}:{_REPOSITORY}/{model.name}:ro", f"engines:{ENGINES}"]
        triton["depends_on"] = {"engines": {"condition": "service_completed_successfully"}}
        services["engines"] = _owner(image)
        document["volumes"] = {"engines": {"name": f"{model.name}-engines"}}
    return yaml_text.dumps(document, _comment(model))


def _resources(resources: server.Resources) -> dict[str, Value]:
    limits: dict[str, Value] = {
        "cpus": f"{resources.cpus}",
        "memory": f"{resources.memory_gib}g",
    }
    if not resources.gpus:
        return {"limits": limits}
    gpu: dict[str, Value] = {
        "driver": "nvidia",
        "count": resources.gpus,
        "capabilities": ["gpu"],
    }
    return {"limits": limits, "reservations": {"devices": [gpu]}}


def _health(hosting: Hosting) -> dict[str, Value]:
    return {
        # The image is sure to have Python, and not curl.
        "test": ["CMD", "python3", "-c", _ASK],
        "interval": f"{_INTERVAL}s",
        "timeout": "3s",
        "retries": 3,
        "start_period": f"{server.seconds_to_ready(hosting)}s",
    }


def _owner(image: str) -> dict[str, Value]:
    """What gives the volume of the engines, which begins as root's, to the server's user."""
    return {
        "image": image,
        "entrypoint": ["chown", f"{server.USER}:{server.USER}", ENGINES],
        "user": "root",
        "network_mode": "none",
        **_HARDENED,
        "cap_add": ["CHOWN"],
        "volumes": [f"engines:{ENGINES}"],
    }


def _comment(model: ModelSpec) -> str:
    return (
        f"Model '{model.name}' on Triton, for this machine alone:\n"
        f"  {server.ADMIN_KEY}=$(openssl rand -hex 16) docker compose up\n"
        "Pin the image by its digest once you have pulled it, read NVIDIA's security bulletins\n"
        "every month, and put a proxy with authentication and limits in front for others to use."
    )
