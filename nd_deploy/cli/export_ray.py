"""`nd-deploy export-ray`: the configuration of a Ray Serve application."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nd_deploy.cli.common import FILE, bundle_argument


@click.command("export-ray", short_help="Write the configuration of a Ray Serve application.")
@bundle_argument
@click.option(
    "--output", "-o", type=FILE, metavar="APP", required=True, help="The folder to write."
)
@click.option(
    "--name", metavar="NAME", help="Of the application, instead of the bundle's folder's."
)
@click.option(
    "--replicas",
    metavar="MIN:MAX",
    default="1:4",
    show_default=True,
    help="How many there are, by how many requests are under way; or one number for always.",
)
@click.option("--cpus", metavar="N", type=int, default=1, show_default=True, help="Of a replica.")
@click.option(
    "--port", metavar="N", type=int, default=8000, show_default=True, help="Of HTTP, on 127.0.0.1."
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier export.")
def export_ray_command(bundle: Path, output: Path, **how: Any) -> None:  # noqa: ANN401
    """Write the configuration by which Ray Serve runs BUNDLE, in replicas that come and go.

    Each replica runs what 'nd-deploy serve' runs. One process serves more for its cost; this is for
    who has a Ray cluster already.
    """
    from nd_deploy.rayserve.export import export_ray

    for path in export_ray(bundle, output, **how):
        click.echo(str(path))
        click.echo(f"run it with: serve run {path}", err=True)
