"""`nd-deploy convert`: a trained network becomes a bundle."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nd_deploy.cli.common import FILE, bundle_document, json_option, print_json, stdout_kept_clean
from nd_deploy.cli.convert_options import (
    checkpoint_option,
    preprocessing_for,
    read_inputs,
    read_labels,
    read_numbers,
    read_shape,
    settings_option,
)
from nd_deploy.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nd_deploy.bundle import Bundle
    from nd_deploy.nd.checkpoint import Checkpoint

Report = Callable[[str], None]

# Enough to see a disagreement that depends on the input, few enough to be quick.
_SAMPLES = 4
# An untrained network has one for each layer.
_WARNINGS = 5


@click.command("convert", short_help="Fold a trained network into a bundle, and prove it.")
@click.argument("source", required=False)
@click.option(
    "-o", "--output", type=FILE, required=True, metavar="FOLDER", help="The bundle to write."
)
@checkpoint_option
@click.option(
    "--input",
    "input_shape",
    metavar="CxHxW",
    callback=read_shape,
    help="The shape of one input, such as 3x32x32; needed for a network of your own.",
)
@settings_option
@click.option("--dynamic-spatial", is_flag=True, help="Leave height and width open.")
@click.option("--static-batch", is_flag=True, help="Fix the batch to --samples, which is then 1.")
@click.option(
    "--target",
    metavar="HOST",
    default="portable",
    show_default=True,
    help="portable, tensorrt, 'tensorrt<=10.6', ort-tensorrt or inlined: who is to read the model. "
    "It matters only for layers that do not fold.",
)
@click.option(
    "--whitening",
    type=click.Choice(("conv", "plugin")),
    default="conv",
    show_default=True,
    help="What becomes of a ChannelDeconv that no other layer takes: a 1x1 convolution, or the op "
    "of the TensorRT plugin.",
)
@click.option(
    "--statistics",
    type=click.Choice(("running", "batch")),
    default="running",
    show_default=True,
    help="What ND layers whiten by: the running averages, which fold, or each batch's own, which "
    "are computed at inference and make outputs depend on the batch.",
)
@click.option("--overwrite", is_flag=True, help="Replace the bundle that is there.")
@click.option("--keep-unfolded", is_flag=True, help="Keep the model before folding as well.")
@click.option("--labels", type=FILE, metavar="FILE", help="The classes' names, one a line.")
@click.option(
    "--mean",
    metavar="A,B,C",
    callback=read_numbers,
    help="Subtracted from each channel, after --scale.",
)
@click.option(
    "--std", metavar="A,B,C", callback=read_numbers, help="Divides each channel, after --mean."
)
@click.option("--scale", type=float, help="Multiplies pixels of 0 to 255.  [default: 1/255]")
@click.option("--resize", metavar="FILTER", help="How images are resized.  [default: bilinear]")
@click.option("--crop", metavar="none|center", help="How images get the input's proportions.")
@click.option("--crop-fraction", type=float, help="Share of the image that the crop spans.")
@click.option(
    "--samples",
    metavar="N",
    type=click.IntRange(min=1),
    help="Parity inputs to draw.  [default: 4]",
)
@click.option("--seed", default=0, show_default=True, help="Of the parity inputs.")
@click.option(
    "--reference-inputs", type=FILE, metavar="FILE", help="Parity inputs of your own, npy or npz."
)
@json_option
def convert_command(
    source: str | None,
    output: Path,
    checkpoint: Path | None,
    input_shape: tuple[int, ...] | None,
    settings: dict[str, Any],
    labels: Path | None,
    as_json: bool,
    **options: Any,  # noqa: ANN401
) -> None:
    """Fold the network SOURCE, prove that nothing changed, and write it as a bundle.

    SOURCE is package.module:callable, where the callable returns your network, or the name of a
    network of nd_deploy.models. Without it, the network of nd_deploy.models is taken that the
    checkpoint fits.
    """
    if source is None and checkpoint is None:
        raise click.UsageError("give a SOURCE, or the --checkpoint of a network that is known")
    from nd_deploy.bundle import check_output
    from nd_deploy.cli.render import progress

    check_output(output, options["overwrite"])
    names = None if labels is None else read_labels(labels)
    with stdout_kept_clean(as_json), progress() as report:
        bundle = _convert(source, output, checkpoint, input_shape, settings, names, options, report)
    if as_json:
        print_json(bundle_document(bundle))
    else:
        _show(bundle)


def _convert(
    source: str | None,
    output: Path,
    checkpoint_file: Path | None,
    input_shape: tuple[int, ...] | None,
    settings: dict[str, Any],
    labels: tuple[str, ...] | None,
    options: dict[str, Any],
    report: Report,
) -> Bundle:
    from nd_deploy import compat
    from nd_deploy.conversion import convert
    from nd_deploy.nd.checkpoint import load_into, read_checkpoint
    from nd_deploy.networks.source import load_network
    from nd_deploy.origin import record

    torch = compat.torch()
    checkpoint = None
    if checkpoint_file is None:
        click.echo(f"no --checkpoint: converting the weights that {source} comes with", err=True)
    else:
        report(f"reading {checkpoint_file}")
        checkpoint = read_checkpoint(checkpoint_file)
        for note in checkpoint.notes:
            click.echo(f"note: {note}", err=True)
    network = load_network(source, settings, checkpoint)
    for note in network.notes:
        click.echo(f"note: {note}", err=True)
    if checkpoint is not None:
        load_into(network.module, checkpoint)
    inputs = _inputs(network.name, input_shape or network.input_shape, options)
    return convert(
        network.module,
        torch.from_numpy(inputs),
        output=output,
        network=network.name,
        checkpoint=_record(checkpoint) if checkpoint else None,
        preprocessing=preprocessing_for(
            inputs.shape[1:],
            **{
                name: options[name]
                for name in ("mean", "std", "scale", "resize", "crop", "crop_fraction")
            },
        ),
        labels=labels,
        dynamic_batch=not options["static_batch"],
        dynamic_spatial=options["dynamic_spatial"],
        target=options["target"],
        whitening=options["whitening"],
        statistics=options["statistics"],
        overwrite=options["overwrite"],
        seed=None if options["reference_inputs"] else options["seed"],
        command=shlex.join(["nd-deploy", *sys.argv[1:]]),
        origin=record(network.name, network.settings, checkpoint_file),
        keep_unfolded=options["keep_unfolded"],
        report=report,
    )


def _record(checkpoint: Checkpoint) -> dict[str, str | None]:
    return {
        "name": checkpoint.path.name,
        "sha256": checkpoint.sha256,
        "format": checkpoint.format,
        "arch": checkpoint.arch,
    }


def _inputs(
    source: str, shape: tuple[int, ...] | None, options: dict[str, Any]
) -> NDArray[np.float32]:
    from nd_deploy.parity.inputs import reference_inputs

    if options["reference_inputs"] is not None:
        return read_inputs(options["reference_inputs"], shape)
    if shape is None:
        raise InputError(
            f"what {source} reads is not known", "give the shape of one input: --input 3x32x32"
        )
    samples = options["samples"] or (1 if options["static_batch"] else _SAMPLES)
    return reference_inputs(shape, samples, options["seed"])


def _show(bundle: Bundle) -> None:
    from nd_deploy.bundle.files import readable_size
    from nd_deploy.cli.parity_view import show_gates
    from nd_deploy.cli.render import shortened, table
    from nd_deploy.fold.decisions import action_in_words, layer_type

    click.echo(f"{bundle.manifest.network}: {bundle.manifest.nd_layers} ND layers")
    groups: dict[tuple[str, str], list[str]] = {}
    for decision in bundle.decisions:
        key = (action_in_words(decision["action"]), layer_type(decision["op_type"]))
        groups.setdefault(key, []).append(decision["layer"])
    table(
        ("decision", "was", ">layers", "which"),
        [
            (action, kind, str(len(layers)), shortened(layers))
            for (action, kind), layers in groups.items()
        ],
    )
    for warning in bundle.warnings[:_WARNINGS]:
        click.echo(f"warning: {warning}", err=True)
    if len(bundle.warnings) > _WARNINGS:
        more = len(bundle.warnings) - _WARNINGS
        click.echo(f"and {more} more warnings: see 'nd-deploy inspect'", err=True)
    click.echo()
    show_gates(bundle.parity)
    click.echo(f"\nwritten to {bundle.path}:")
    sizes = [(path.name, path.stat().st_size) for path in sorted(bundle.path.iterdir())]
    table(("file", ">size"), [(name, readable_size(size)) for name, size in sizes])
    folder = shlex.quote(str(bundle.path))
    classifies = bundle.manifest.preprocessing and len(bundle.manifest.outputs[0].shape) == 2
    images = "image.png" if classifies else "--npz inputs.npz"
    click.echo(
        "\nnext:\n"
        f"  nd-deploy inspect {folder}   why each layer ended up where it did\n"
        f"  nd-deploy verify {folder}   the same proof on another machine\n"
        f"  nd-deploy run {folder} {images}"
    )
