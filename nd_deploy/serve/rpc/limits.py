"""What gRPC itself is to bound."""

from __future__ import annotations

from collections.abc import Iterator

from nd_deploy.serve.exchange import ModelSpec, Service
from nd_deploy.serve.protocol.limits import body_limit
from nd_deploy.serve.refusal import Refusal
from nd_deploy.serve.settings import Settings

# Calls that a connection may have under way.
_STREAMS = 128
# After this time clients connect anew, and so come to replicas that were added since.
_CONNECTION_AGE_S = 3600.0
# A client that has been silent for so long is asked for a sign of life, and has so long for it.
_PING_AFTER_S = 60.0
_PING_TIMEOUT_S = 20.0
# Clients may ask as well, but no more often than this.
_CLIENT_PING_INTERVAL_S = 10.0
_PING_STRIKES = 2

_INT32_MAX = 2**31 - 1


def channel_options(service: Service, settings: Settings) -> list[tuple[str, int]]:
    """Options of a server's connections, under the names of gRPC Core's channel arguments.

    Args:
        service: whose models say how large a request may be.
        settings: of the server.
    """
    return [
        # Linux would share the port among servers, and a second one would start without a word.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", message_limit(service, settings)),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", settings.header_limit),
        ("grpc.absolute_max_metadata_size", settings.header_limit),
        ("grpc.max_concurrent_streams", _STREAMS),
        # Otherwise calls that are answered but not yet forgotten count as well, and a client that
        # keeps to the limit has some of its calls refused.
        ("grpc.http.overload_protection", 0),
        ("grpc.max_allowed_incoming_connections", settings.connection_limit),
        ("grpc.server_handshake_timeout_ms", _milliseconds(settings.header_timeout)),
        ("grpc.max_connection_idle_ms", _milliseconds(settings.keep_alive)),
        ("grpc.max_connection_age_ms", _milliseconds(_CONNECTION_AGE_S)),
        ("grpc.max_connection_age_grace_ms", _milliseconds(settings.deadline)),
        ("grpc.keepalive_time_ms", _milliseconds(_PING_AFTER_S)),
        ("grpc.keepalive_timeout_ms", _milliseconds(_PING_TIMEOUT_S)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _milliseconds(_CLIENT_PING_INTERVAL_S)),
        ("grpc.http2.max_ping_strikes", _PING_STRIKES),
    ]


def message_limit(service: Service, settings: Settings) -> int:
    """Bytes that a request may have, compressed or not: what the largest of the models needs.

    gRPC takes one limit for all models, when the server starts.
    """
    sizes = [body_limit(spec, settings) for spec in _specs(service)]
    return min(max([settings.body_limit, *sizes]), _INT32_MAX)


def _specs(service: Service) -> Iterator[ModelSpec]:
    for state in service.models():
        try:
            yield service.spec(state.name)
        except Refusal:
            continue


def _milliseconds(seconds: float) -> int:
    return min(round(1000 * seconds), _INT32_MAX)
