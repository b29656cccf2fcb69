"""`nd-deploy export-triton`: a bundle becomes a model repository of Triton."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nd_deploy.cli.common import FILE, bundle_argument
from nd_deploy.serve.settings import Settings
from nd_deploy.triton.accelerators import ACCELERATORS, CPU
from nd_deploy.triton.releases import IMAGE


@click.command("export-triton", short_help="Write a model repository of Triton.")
@bundle_argument
@click.option(
    "--output", "-o", type=FILE, metavar="REPO", required=True, help="The folder to write."
)
@click.option(
    "--accelerator",
    type=click.Choice(ACCELERATORS),
    default=CPU,
    show_default=True,
    help="What runs the model: ONNX Runtime's provider of that name, or TensorRT an engine.",
)
@click.option("--name", metavar="NAME", help="Of the model, instead of the bundle's folder's.")
@click.option(
    "--max-batch",
    metavar="N",
    type=int,
    help=f"The largest batch.  [default: {Settings.max_batch}, or what the engine takes]",
)
@click.option(
    "--shape",
    "shapes",
    metavar="INPUT=MIN:OPT:MAX",
    multiple=True,
    help="tensorrt: whole shapes of an input with other open axes, such as "
    "input=1x3x224x224:8x3x224x224:32x3x512x512.",
)
@click.option("--engine", type=FILE, metavar="FILE", help="plan: what 'nd-deploy build' wrote.")
@click.option(
    "--tensorrt", metavar="X.Y.Z", help="plan: the version of TensorRT that is in the image."
)
@click.option(
    "--instances",
    metavar="N",
    type=int,
    default=1,
    show_default=True,
    help="Of the model, to run at once.",
)
@click.option(
    "--threads", metavar="N", type=int, default=4, show_default=True, help="cpu: of one operator."
)
@click.option("--tf32", is_flag=True, help="GPU: let float32 products be computed in TF32.")
@click.option(
    "--image", metavar="IMAGE", default=IMAGE, show_default=True, help="Of Triton, to be pinned."
)
@click.option("--compose", is_flag=True, help="Write a Compose file, for one machine, as well.")
@click.option("--kserve", is_flag=True, help="Write KServe's resources, for Kubernetes, as well.")
@click.option(
    "--storage",
    metavar="URI",
    help="--kserve: where the repository lies.  [default: pvc://models/REPO]",
)
@click.option("--overwrite", is_flag=True, help="Replace a repository that is there.")
def export_triton_command(bundle: Path, output: Path, image: str, **how: Any) -> None:  # noqa: ANN401
    """Write a model repository of NVIDIA's Triton that serves BUNDLE.

    It is checked by the rules of Triton's own core before it is put in place. The labels, the
    warm-up and the limits come from the bundle; requests are joined only where no output depends
    on what else is in a batch.
    """
    from nd_deploy.bundle.files import readable_size
    from nd_deploy.triton.compose import COMPOSE
    from nd_deploy.triton.export import export_triton
    from nd_deploy.triton.kserve import KSERVE

    written = export_triton(bundle, output, image=image, **how)
    for path in written:
        click.echo(f"{path}  {readable_size(path.stat().st_size)}")
    files = {path.name: path for path in written}
    if COMPOSE not in files and KSERVE not in files:
        click.echo(f"serve it with: {_docker_run(output, image, how['accelerator'])}", err=True)
    for name in (COMPOSE, KSERVE):
        if name in files:
            click.echo(f"the first lines of {files[name]} say how to serve it", err=True)


def _docker_run(output: Path, image: str, accelerator: str) -> str:
    import shlex

    from nd_deploy.triton.server import USER

    gpus = [] if accelerator == CPU else ["--gpus", "1"]
    words = [
        *("docker", "run", "--rm", *gpus, "--user", f"{USER}:{USER}", "--cap-drop", "ALL"),
        *("-e", "ORT_DISABLE_TELEMETRY=1", "-p", "127.0.0.1:8000:8000"),
        *("-v", f"{output.resolve()}:/models:ro", image, "tritonserver"),
        *("--model-repository=/models", "--disable-auto-complete-config"),
    ]
    return shlex.join(words)
