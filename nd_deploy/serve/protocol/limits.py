"""How much a request may hold, known before any of it is parsed."""

from __future__ import annotations

from nd_deploy.serve.exchange import ModelSpec
from nd_deploy.serve.protocol.facts import facts_of
from nd_deploy.serve.settings import Settings

LONG = 2**20
"""Bytes of a request from which on reading it takes so long that others should not wait for it."""


def body_limit(spec: ModelSpec, settings: Settings) -> int:
    """Bytes that a request's body may have, before and after decompression.

    The settings' limit, or a quarter more than the largest batch takes if that is larger.
    """
    return max(settings.body_limit, facts_of(spec).input_bytes * 5 // 4)
