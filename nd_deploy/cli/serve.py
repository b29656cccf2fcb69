"""`nd-deploy serve`: bundles, over the Open Inference Protocol."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nd_deploy.cli.common import FILE
from nd_deploy.cli.runtime_options import key_values, plugin_option, tf32_option
from nd_deploy.errors import InputError
from nd_deploy.runtime.options import ORT_CPU, ORT_RUNTIMES, RunOptions
from nd_deploy.serve.settings import Settings

if TYPE_CHECKING:
    from nd_deploy.serve.http.server import Server
    from nd_deploy.serve.models.source import Source

_DEFAULTS = Settings()
# Waiting this long for more requests pays on a GPU, where a batch costs hardly more than one.
_GPU_DELAY = 0.001


@click.command("serve", short_help="Serve bundles over HTTP and gRPC.")
@click.argument("bundles", metavar="[NAME=]BUNDLE...", nargs=-1, required=True)
@click.option("--host", default=_DEFAULTS.host, show_default=True, help="The address to listen on.")
@click.option(
    "--http-port",
    type=click.IntRange(0, 65535),
    default=_DEFAULTS.http_port,
    show_default=True,
    help="Of REST, metrics and the page; 0 for any that is free.",
)
@click.option(
    "--grpc-port",
    type=click.IntRange(0, 65535),
    default=_DEFAULTS.grpc_port,
    show_default=True,
    help="Of gRPC; 0 for any that is free.",
)
@click.option("--no-grpc", is_flag=True, help="Do not serve gRPC.")
@click.option(
    "--runtime",
    type=click.Choice(ORT_RUNTIMES),
    default=ORT_CPU,
    show_default=True,
    help="What is to run the models; it is that or an error.",
)
@click.option(
    "--option",
    "own",
    metavar="KEY=VALUE",
    multiple=True,
    help="An option of the runtime's own; repeat it for more.",
)
@plugin_option
@tf32_option
@click.option("--cuda-graph", is_flag=True, help="GPU: replay a CUDA graph for each batch size.")
@click.option("--labels", type=FILE, metavar="FILE", help="Names of the classes, one a line.")
@click.option("--max-batch", type=int, metavar="N", help="The largest batch.  [default: 32]")
@click.option(
    "--batch-delay",
    type=float,
    metavar="S",
    help="How long a request may wait for others.  [default: 0, on a GPU 0.001]",
)
@click.option("--instances", type=int, metavar="N", help="Sessions at once.  [default: 1]")
@click.option(
    "--threads", type=int, metavar="N", help="Of one operator.  [default: the processors, shared]"
)
@click.option(
    "--limit",
    "limits",
    metavar="NAME=VALUE",
    multiple=True,
    help="Any other limit, such as body_limit=64MiB, deadline=5 or queue_limit=1000.",
)
@click.option(
    "--token-file",
    type=FILE,
    metavar="FILE",
    help="Ask clients for this token, as Authorization: Bearer TOKEN.",
)
@click.option("--no-page", is_flag=True, help="Do not serve the page at /.")
@click.option("--access-log", is_flag=True, help="Log each request.")
@click.option("--log-json", is_flag=True, help="Log as JSON, an object a line.")
def serve_command(bundles: tuple[str, ...], **options: Any) -> None:  # noqa: ANN401
    """Serve BUNDLES until a signal ends it; requests under way are finished first.

    Clients of the Open Inference Protocol, such as Triton's, can ask at once; the page at / takes
    an image. A bundle that is replaced is loaded, checked and exchanged while the server runs.
    """
    from nd_deploy import compat

    compat.require("uvicorn", "serve")
    compat.require("starlette", "serve")
    if not options["no_grpc"]:
        compat.require("grpc", "serve")
    settings = _settings(options)
    sources = _sources(bundles, options)
    from nd_deploy.serve.application import make_server
    from nd_deploy.serve.logs import set_up_logging

    set_up_logging(settings.json_log)
    for warning in _warnings(settings):
        click.echo(f"warning: {warning}", err=True)
    server = make_server(sources, settings, lambda server, rpc: _announce(server, rpc, sources))
    cut_off = server.run()
    if cut_off:
        click.echo(f"warning: {cut_off} requests were cut off at the end", err=True)


def _settings(options: dict[str, Any]) -> Settings:
    from nd_deploy.cli.serve_options import (
        check_settings,
        default_settings,
        read_token,
        with_limits,
    )

    given = {
        name: options[name]
        for name in ("max_batch", "batch_delay", "instances", "threads")
        if options[name] is not None
    }
    settings = default_settings()
    if options["runtime"] != ORT_CPU:
        settings = replace(settings, batch_delay=_GPU_DELAY)
    settings = replace(with_limits(settings, options["limits"]), **given)
    token_file = options["token_file"]
    settings = replace(
        settings,
        host=options["host"],
        http_port=options["http_port"],
        grpc_port=None if options["no_grpc"] else options["grpc_port"],
        token=None if token_file is None else read_token(token_file),
        page=not options["no_page"],
        access_log=options["access_log"],
        json_log=options["log_json"],
    )
    check_settings(settings)
    return settings


def _sources(bundles: tuple[str, ...], options: dict[str, Any]) -> list[Source]:
    from nd_deploy.cli.convert_options import read_labels
    from nd_deploy.cli.serve_options import name_and_path
    from nd_deploy.runtime.options import check_runtime
    from nd_deploy.serve.models.source import Source

    labels: Path | None = options["labels"]
    if labels is not None and len(bundles) > 1:
        raise InputError(
            f"--labels {labels} is given, and {len(bundles)} bundles",
            "serve one bundle with it, or convert each with its own --labels",
        )
    how = RunOptions(
        options=key_values(options["own"]),
        plugins=options["plugins"],
        tf32=options["tf32"],
        cuda_graph=options["cuda_graph"],
    )
    check_runtime(options["runtime"], how)
    names = None if labels is None else read_labels(labels)
    return [
        Source(name, path, options["runtime"], how, names)
        for name, path in map(name_and_path, bundles)
    ]


def _warnings(settings: Settings) -> list[str]:
    if _is_loopback(settings.host):
        return []
    warnings = [
        f"--host {settings.host}: whoever reaches this machine can ask; nothing is encrypted"
    ]
    if settings.token is None:
        warnings.append("no token is asked for: give --token-file, or put a gateway in front")
    return warnings


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _announce(server: Server, rpc: int | None, sources: list[Source]) -> None:
    host, port = server.address
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"ready: {', '.join(source.name for source in sources)} on http://{shown}:{port}")
    if rpc is not None:
        click.echo(f"       gRPC on {shown}:{rpc}")
    click.echo(f"  curl http://{shown}:{port}/v2/models/{sources[0].name}")
    click.echo(
        f"  curl --data-binary @image.png http://{shown}:{port}/v1/models/{sources[0].name}/classify"
    )
