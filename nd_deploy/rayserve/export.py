"""From a bundle to the file that Ray Serve deploys it by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from nd_deploy import yaml_text
from nd_deploy.bundle import read_bundle
from nd_deploy.bundle.atomic import new_folder
from nd_deploy.bundle.files import why_not_written
from nd_deploy.bundle.overwrite import why_not_replaced
from nd_deploy.errors import InputError
from nd_deploy.rayserve.deployment import DEPLOYMENT
from nd_deploy.serve.settings import Settings
from nd_deploy.yaml_text import Value

FILE = "serve.yaml"

_IMPORT_PATH = "nd_deploy.rayserve.deployment:build"
_HOST = "127.0.0.1"
# A replica joins what waits into batches, so that it is to have more than one request at a time.
_TARGET, _MOST = 16, 64
# What a replica may take to close, once requests under way are finished.
_MARGIN_SECONDS = 10
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True)
class Replicas:
    """How many replicas there are.

    Attributes:
        least: of them, always.
        most: of them, under load.
    """

    least: int
    most: int


def parse_replicas(text: str) -> Replicas:
    """Read "1:4", or "2" for always that many.

    Raises:
        InputError: it is something else.
    """
    numbers = text.split(":")
    if len(numbers) > 2 or not all(number.isdecimal() for number in numbers):
        raise InputError(
            f"--replicas {text} is no MIN:MAX", "write it as 1:4, or as 2 for always 2"
        )
    found = Replicas(int(numbers[0]), int(numbers[-1]))
    if not 1 <= found.least <= found.most:
        raise InputError(
            f"--replicas {text} is no range of at least 1", "give the least first, such as 1:4"
        )
    return found


def export_ray(
    bundle: Path | str,
    output: Path | str,
    *,
    name: str | None = None,
    replicas: str = "1:4",
    cpus: int = 1,
    port: int = 8000,
    overwrite: bool = False,
) -> list[Path]:
    """Write the configuration of a Ray Serve application that serves a bundle.

    Args:
        bundle: the bundle's folder, which every node of the cluster has to see at the same path.
        output: the folder to write; it gets one file.
        name: of the application; None for that of the bundle's folder.
        replicas: the least and the most of them, such as "1:4".
        cpus: of a replica, and threads of one operator in it.
        port: of HTTP, on 127.0.0.1.
        overwrite: replace what an earlier export wrote.

    Returns:
        Every file that was written.

    Raises:
        BundleError: `bundle` is no bundle, or its files have changed.
        InputError: the output exists or cannot be written, or an option makes no sense.
    """
    output = Path(output)
    refusal = why_not_replaced(output, overwrite, "Ray application", FILE, lambda folder: ())
    if refusal is not None:
        raise InputError(*refusal)
    scale = parse_replicas(replicas)
    if cpus < 1:
        raise InputError(f"--cpus is {cpus}", "give at least 1")
    if not 0 < port < 2**16:
        raise InputError(f"--port is {port}", "give a port from 1 to 65535")
    path = read_bundle(bundle).path.resolve()
    text = yaml_text.dumps(_document(path, _name(name or path.name), scale, cpus, port), _COMMENT)
    try:
        with new_folder(output) as folder:
            (folder / FILE).write_text(text, encoding="utf-8")
    except OSError as error:
        reason, remedy = why_not_written(error, len(text))
        raise InputError(f"{output} cannot be written: {reason}", remedy) from error
    return [output / FILE]


def _name(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise InputError(
            f"{name!r} is no name for an application",
            "choose another: --name NAME, of letters, digits, '_', '.' and '-'",
        )
    return name


def _document(bundle: Path, name: str, scale: Replicas, cpus: int, port: int) -> dict[str, Value]:
    deployment: dict[str, Value] = {
        "name": DEPLOYMENT,
        "max_ongoing_requests": _MOST,
        "max_queued_requests": Settings.queue_limit,
        "graceful_shutdown_timeout_s": round(Settings.drain_timeout) + _MARGIN_SECONDS,
        "ray_actor_options": {"num_cpus": cpus},
        "autoscaling_config": {
            "min_replicas": scale.least,
            "max_replicas": scale.most,
            "target_ongoing_requests": _TARGET,
        },
    }
    application: dict[str, Value] = {
        "name": name,
        "route_prefix": "/",
        "import_path": _IMPORT_PATH,
        "args": {"bundles": [str(bundle)], "settings": {"threads": cpus}},
        "runtime_env": {"env_vars": {"ORT_DISABLE_TELEMETRY": "1"}},
        "deployments": [deployment],
    }
    return {
        "http_options": {"host": _HOST, "port": port},
        "applications": [application],
    }


_COMMENT = f"""\
A Ray Serve application that serves a bundle:
  serve run {FILE}
nd-deploy has to be installed, and the bundle to be seen, on every node. HTTP listens on {_HOST};
Ray's own ports, which tell replicas what to do, listen everywhere: keep them behind a firewall."""
