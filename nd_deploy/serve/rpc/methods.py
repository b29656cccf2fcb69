"""Which method is answered by what."""

from __future__ import annotations

import asyncio

import grpc  # type: ignore[import-untyped]

from nd_deploy.serve.exchange import Service
from nd_deploy.serve.http.observation import Observe
from nd_deploy.serve.rpc.calls import Answer, answering, streaming
from nd_deploy.serve.rpc.entry import Entry
from nd_deploy.serve.rpc.health import Health
from nd_deploy.serve.rpc.inference import Inference
from nd_deploy.serve.rpc.information import Information
from nd_deploy.serve.rpc.messages import HEALTH, HEALTH_SERVICE, INFERENCE, INFERENCE_SERVICE
from nd_deploy.serve.settings import Settings

# Probes have no token, and learn nothing from these that is not seen from outside.
_PUBLIC = frozenset({"ServerLive", "ServerReady"})


def service_handlers(
    service: Service, settings: Settings, ending: asyncio.Event, observe: Observe
) -> tuple[grpc.GenericRpcHandler, ...]:
    """The handlers of all gRPC services.

    Args:
        service: that answers.
        settings: of the server.
        ending: set once the server takes no more calls.
        observe: told of every call.
    """
    return (
        grpc.method_handlers_generic_handler(
            INFERENCE_SERVICE, _inference(service, settings, ending, observe)
        ),
        grpc.method_handlers_generic_handler(
            HEALTH_SERVICE, _health(service, settings, ending, observe)
        ),
    )


def _inference(
    service: Service, settings: Settings, ending: asyncio.Event, observe: Observe
) -> dict[str, grpc.RpcMethodHandler]:
    information = Information(service, settings)
    answers: dict[str, Answer] = {
        "ServerLive": information.server_live,
        "ServerReady": information.server_ready,
        "ServerMetadata": information.server_metadata,
        "ModelReady": information.model_ready,
        "ModelMetadata": information.model_metadata,
        "ModelConfig": information.model_config,
        "ModelStatistics": information.model_statistics,
        "RepositoryIndex": information.repository_index,
        "ModelInfer": Inference(service, settings).infer,
    }
    handlers = {}
    for method, answer in answers.items():
        path, request = f"/{INFERENCE_SERVICE}/{method}", INFERENCE[f"{method}Request"]
        entry = Entry(path, request, settings, ending, public=method in _PUBLIC)
        handlers[method] = answering(entry, answer, observe)
    return handlers


def _health(
    service: Service, settings: Settings, ending: asyncio.Event, observe: Observe
) -> dict[str, grpc.RpcMethodHandler]:
    health, request = Health(service, ending), HEALTH["HealthCheckRequest"]
    check, watch = (
        Entry(f"/{HEALTH_SERVICE}/{method}", request, settings, ending, public=True)
        for method in ("Check", "Watch")
    )
    return {
        "Check": answering(check, health.check, observe),
        "Watch": streaming(watch, health.watch, observe),
    }
