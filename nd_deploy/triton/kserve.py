"""A serving runtime and an inference service of KServe's, for Kubernetes.

The fields are those of KServe's custom resources, `ServingRuntime` of v1alpha1 and
`InferenceService` of v1beta1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from nd_deploy import yaml_text
from nd_deploy.errors import InputError
from nd_deploy.serve.exchange import ModelSpec
from nd_deploy.triton import server
from nd_deploy.triton.accelerators import ENGINES, TENSORRT
from nd_deploy.triton.config import Hosting
from nd_deploy.yaml_text import Value

KSERVE = "kserve.yaml"

_HTTP, _GRPC = 8080, 9000
_REPOSITORY = "/mnt/models"
_INTERVAL = 10
_MOST_ON_CPU = 3
# KServe's own rule for the name of an inference service, and what a label of Kubernetes may have.
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,50}[a-z0-9])?")


def kubernetes_name(model: str) -> str:
    """The name of a model's resources.

    Args:
        model: its name in Triton.

    Raises:
        InputError: none can be made of it.
    """
    name = re.sub(r"[_.]", "-", model.lower())
    if _NAME.fullmatch(name) is None:
        raise InputError(
            f"'{model}' is no name for a resource of Kubernetes",
            "choose another: --name NAME, which begins with a letter, ends with a letter or digit "
            "and has at most 52 of letters, digits and '-'",
        )
    return name


def kserve_file(
    model: ModelSpec,
    hosting: Hosting,
    image: str,
    resources: server.Resources,
    storage: str,
    portable_version: bool = False,
) -> str:
    """The text of both resources.

    Args:
        model: that is served.
        hosting: how it is run.
        image: of Triton.
        resources: that the container may take.
        storage: where the repository lies, as KServe has it, such as "pvc://models/repo".
        portable_version: whether a plan is of another version of TensorRT.

    Raises:
        InputError: the model's name is none that Kubernetes takes.
    """
    name = kubernetes_name(model.name)
    runtime = f"{name}-triton"
    flags = server.flags(
        model,
        hosting,
        _REPOSITORY,
        _HTTP,
        _GRPC,
        f"$({server.ADMIN_KEY})",
        portable_version=portable_version,
    )
    container = _container(flags, hosting, image, resources, secret=f"{name}-admin")
    documents = (
        yaml_text.dumps(_runtime(runtime, hosting, container), _comment(name)),
        yaml_text.dumps(_service(name, runtime, hosting, storage)),
    )
    return "---\n".join(documents)


def _runtime(name: str, hosting: Hosting, container: dict[str, Value]) -> dict[str, Value]:
    spec: dict[str, Value] = {
        "annotations": {
            "prometheus.kserve.io/port": str(server.METRICS_PORT),
            "prometheus.kserve.io/path": "/metrics",
        },
        "supportedModelFormats": [{"name": "triton", "version": "2"}],
        "protocolVersions": ["v2", "grpc-v2"],
        "containers": [container],
    }
    if hosting.accelerator == TENSORRT:
        # As long as the pod lives: a claim that is mounted here instead keeps them for the next.
        spec["volumes"] = [{"name": "engines", "emptyDir": {"sizeLimit": "8Gi"}}]
    return _resource("serving.kserve.io/v1alpha1", "ServingRuntime", {"name": name}, spec)


def _container(
    flags: list[str],
    hosting: Hosting,
    image: str,
    resources: server.Resources,
    secret: str,
) -> dict[str, Value]:
    key: dict[str, Value] = {
        "name": server.ADMIN_KEY,
        "valueFrom": {"secretKeyRef": {"name": secret, "key": "key"}},
    }
    variables: list[Value] = [
        {"name": name, "value": value} for name, value in server.environment(hosting).items()
    ]
    container: dict[str, Value] = {
        "name": "kserve-container",
        "image": image,
        "args": flags,
        "env": [*variables, key],
        "ports": [
            {"name": "http1", "containerPort": _HTTP, "protocol": "TCP"},
            {"name": "grpc", "containerPort": _GRPC, "protocol": "TCP"},
        ],
        "securityContext": {
            "runAsUser": server.USER,
            "runAsNonRoot": True,
            "privileged": False,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": _resources(resources),
        "startupProbe": _probe("ready", server.seconds_to_ready(hosting) // _INTERVAL),
        "readinessProbe": _probe("ready", 3),
        "livenessProbe": _probe("live", 6),
    }
    if hosting.accelerator == TENSORRT:
        container["volumeMounts"] = [{"name": "engines", "mountPath": ENGINES}]
    return container


def _resources(resources: server.Resources) -> dict[str, Value]:
    wanted: dict[str, Value] = {
        "cpu": str(resources.cpus),
        "memory": f"{resources.memory_gib}Gi",
    }
    if resources.gpus:
        wanted["nvidia.com/gpu"] = str(resources.gpus)
    return {"requests": wanted, "limits": wanted}


def _probe(health: str, failures: int) -> dict[str, Value]:
    return {
        "httpGet": {"path": f"/v2/health/{health}", "port": _HTTP},
        "periodSeconds": _INTERVAL,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    }


def _service(name: str, runtime: str, hosting: Hosting, storage: str) -> dict[str, Value]:
    predictor: dict[str, Value] = {
        "minReplicas": 1,
        "maxReplicas": 1 if hosting.on_gpu else _MOST_ON_CPU,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": server.GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": server.USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "model": {
            "modelFormat": {"name": "triton", "version": "2"},
            "protocolVersion": "v2",
            "runtime": runtime,
            "storageUri": storage,
        },
    }
    metadata: dict[str, Value] = {
        "name": name,
        "annotations": {"serving.kserve.io/deploymentMode": "Standard"},
    }
    spec: dict[str, Value] = {"predictor": predictor}
    return _resource("serving.kserve.io/v1beta1", "InferenceService", metadata, spec)


def _resource(
    version: str, kind: str, metadata: Mapping[str, Value], spec: Mapping[str, Value]
) -> dict[str, Value]:
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def _comment(name: str) -> str:
    return (
        "Put the repository where storageUri says, then:\n"
        f"  kubectl create secret generic {name}-admin --from-literal=key=$(openssl rand -hex 16)\n"
        f"  kubectl apply -f {KSERVE}\n"
        "KServe before 0.16 calls the deployment mode RawDeployment. Pin the image by its digest,\n"
        "read NVIDIA's security bulletins every month, and put a gateway with authentication and\n"
        "limits in front."
    )
