"""The classes of every message that the server reads and writes."""

from __future__ import annotations

from nd_deploy.serve.rpc.config_messages import CONFIG_ENUMERATIONS, CONFIG_MESSAGES
from nd_deploy.serve.rpc.inference_messages import INFERENCE_MESSAGES
from nd_deploy.serve.rpc.schema import message_classes, one

INFERENCE_SERVICE = "inference.GRPCInferenceService"
HEALTH_SERVICE = "grpc.health.v1.Health"

INFERENCE = message_classes(
    "inference", {**INFERENCE_MESSAGES, **CONFIG_MESSAGES}, CONFIG_ENUMERATIONS
)

# Of gRPC's health checking protocol.
HEALTH = message_classes(
    "grpc.health.v1",
    {
        "HealthCheckRequest": (one(1, "service", "string"),),
        "HealthCheckResponse": (one(1, "status", "ServingStatus"),),
    },
    {"ServingStatus": ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")},
)
