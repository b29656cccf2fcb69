"""Reads what `nd-deploy serve` is given: bundles with names, limits, a token."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from nd_deploy.errors import InputError
from nd_deploy.runtime.option_values import size, switch
from nd_deploy.serve.settings import Settings

_SIZES = ("body_limit", "header_limit", "queue_bytes", "image_bytes")
# Kubernetes goes on sending requests for a while after it has said that a container is to end.
_KUBERNETES = "KUBERNETES_SERVICE_HOST"
_DRAIN_DELAY = 5.0
# What has a flag of its own, or is for the program to say.
_NO_LIMITS = ("host", "http_port", "grpc_port", "token", "page", "access_log", "json_log")


def name_and_path(text: str) -> tuple[str, Path]:
    """Read "NAME=FOLDER", or a folder whose last part is the name."""
    name, equals, folder = text.partition("=")
    if equals and name and folder and not Path(text).exists():
        return name, Path(folder)
    return Path(text).resolve().name, Path(text)


def default_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """The defaults, which are others in a Kubernetes pod."""
    settings = Settings()
    return replace(settings, drain_delay=_DRAIN_DELAY) if _KUBERNETES in environment else settings


def with_limits(settings: Settings, texts: Iterable[str]) -> Settings:
    """Change limits.

    Args:
        settings: to begin with.
        texts: each "NAME=VALUE", of a field of `Settings`.

    Raises:
        InputError: there is no such limit, or its value makes no sense.
    """
    kinds = {field.name: field.type for field in fields(Settings)}
    changes: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in kinds or name in _NO_LIMITS:
            known = ", ".join(name for name in kinds if name not in _NO_LIMITS)
            raise InputError(
                f"--limit {text} is none", f"write NAME=VALUE, where NAME is one of {known}"
            )
        changes[name] = _value(text, name, str(kinds[name]), value)
    return replace(settings, **changes)


def check_settings(settings: Settings) -> None:
    """Refuse limits under which nothing is served.

    Raises:
        InputError: there is one.
    """
    for field in fields(Settings):
        value = getattr(settings, field.name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        least = 0 if field.name in _MAY_BE_ZERO else 1 if isinstance(value, int) else 1e-3
        if value < least:
            raise InputError(f"{field.name} is {value:g}", f"give at least {least:g}")


_MAY_BE_ZERO = ("http_port", "grpc_port", "batch_delay", "drain_delay", "drain_timeout",
                "reload_interval")  # fmt: skip


def read_token(path: Path) -> str:
    """The token that clients have to show: the first line of a file.

    Raises:
        InputError: the file cannot be read, holds nothing, or anything else than printable ASCII.
    """
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise InputError(f"--token-file {path}: {error.strerror}", "name a text file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"--token-file {path} is no ASCII text", _MAKE_ONE) from error
    token = lines[0].strip() if lines else ""
    if not token or not token.isprintable() or " " in token:
        raise InputError(f"--token-file {path} holds no token on its first line", _MAKE_ONE)
    return token


_MAKE_ONE = "make one: python -c 'import secrets; print(secrets.token_urlsafe())' > FILE"


def _value(text: str, name: str, kind: str, value: str) -> object:
    try:
        if name in _SIZES:
            return size(value)
        if kind == "bool":
            return switch(value)
        if kind.startswith("int"):
            return int(value)
        return float(value)
    except ValueError as error:
        meant = str(error) if name in _SIZES or kind == "bool" else "a number"
        raise InputError(f"--limit {text} makes no sense", f"give {meant}") from None
