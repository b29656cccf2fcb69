"""The application that `serve.yaml` names: each replica runs the server's own ASGI application.

Ray routes requests to replicas and counts those under way; loading, batching and limits are what
they are in one process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from nd_deploy.errors import InputError
from nd_deploy.serve.settings import Settings

DEPLOYMENT = "Server"
"""What the deployment is called in `serve.yaml`."""

_ARGUMENTS = ("bundles", "settings")


def build(args: Mapping[str, Any]) -> Any:  # noqa: ANN401 - Ray's Application, which has no types
    """Build the application; Ray calls it with the `args` of `serve.yaml`.

    Args:
        args: `bundles`, a list of folders that every node sees; and `settings`, fields of
            `nd_deploy.serve.settings.Settings`.

    Returns:
        A deployment, bound.

    Raises:
        InputError: an argument is missing or unknown.
    """
    from ray import serve  # type: ignore[import-not-found]

    bundles, settings = read_arguments(args)

    def make() -> Any:  # noqa: ANN401
        from nd_deploy.serve.application import make_asgi

        return make_asgi(bundles, settings)

    return serve.deployment(serve.ingress(make)(), name=DEPLOYMENT).bind()


def read_arguments(args: Mapping[str, Any]) -> tuple[tuple[Path, ...], Settings]:
    """Read the arguments of `build`.

    Raises:
        InputError: one is missing, unknown or of another type.
    """
    strange = sorted(set(args) - set(_ARGUMENTS))
    if strange:
        raise InputError(
            f"args of serve.yaml: there is no {strange[0]!r}",
            f"give {' and '.join(_ARGUMENTS)}",
        )
    bundles = args.get("bundles")
    if isinstance(bundles, str) or not isinstance(bundles, Sequence) or not bundles:
        raise InputError(
            f"args of serve.yaml: bundles is {bundles!r}", "give a list of bundles' folders"
        )
    settings = dict(args.get("settings") or {})
    unknown = sorted(set(settings) - {field.name for field in fields(Settings)})
    if unknown:
        raise InputError(
            f"args of serve.yaml: there is no setting {unknown[0]!r}",
            "give fields of nd_deploy.serve.settings.Settings",
        )
    return tuple(map(Path, bundles)), Settings(**settings)
