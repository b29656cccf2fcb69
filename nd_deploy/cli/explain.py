"""`nd-deploy explain`: pictures of what D does."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nd_deploy.cli.common import FILE, json_option, print_json, stdout_kept_clean
from nd_deploy.cli.convert_options import checkpoint_option, settings_option
from nd_deploy.errors import BundleError, InputError

if TYPE_CHECKING:
    from nd_deploy.explain.explanation import Explanation
    from nd_deploy.explain.image_kernels import ImageKernels
    from nd_deploy.explain.record import Spectra

Report = Callable[[str], None]

_IMAGES = 32


@click.command("explain", short_help="Draw what D does: its spectrum and its kernels.")
@click.argument("target", metavar="[SOURCE|BUNDLE]", required=False)
@click.option(
    "-o", "--output", type=FILE, required=True, metavar="FOLDER", help="The report to write."
)
@checkpoint_option
@settings_option
@click.option(
    "--images", type=FILE, metavar="FOLDER", help="Images to compute kernels of D from as well."
)
@click.option("--patch", type=int, metavar="N", help="Size of their patches, odd.  [default: 15]")
@click.option("--eps", type=float, help="Added to their covariance's diagonal.  [default: 1e-5]")
@click.option(
    "--n-iter", type=click.IntRange(min=1), metavar="N", help="Newton-Schulz steps.  [default: 15]"
)
@click.option(
    "--max-images",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Of more images, as many are drawn.  [default: {_IMAGES}]",
)
@click.option(
    "--seed", type=click.IntRange(min=0), metavar="N", help="Of what is drawn.  [default: 0]"
)
@click.option("--grey", is_flag=True, help="Look at the images' brightness alone.")
@click.option("--overwrite", is_flag=True, help="Replace the report that is there.")
@json_option
def explain_command(
    target: str | None,
    output: Path,
    checkpoint: Path | None,
    settings: dict[str, Any],
    images: Path | None,
    overwrite: bool,
    as_json: bool,
    grey: bool,
    **given: Any,  # noqa: ANN401
) -> None:
    """Draw what D does in a network or in a bundle, and what it would do to images.

    SOURCE, --checkpoint and --set are as of 'nd-deploy convert'; for a BUNDLE, PyTorch is not
    needed. The report is one page of HTML, its pictures as PNG, and the numbers as JSON.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    if target is None and checkpoint is None and images is None:
        raise click.UsageError("give a SOURCE, a BUNDLE, a --checkpoint or --images")
    if target is None and checkpoint is None and settings:
        raise click.UsageError("--set is for a SOURCE or a --checkpoint, which are not given")
    if images is None and (chosen or grey):
        option = next(iter(chosen), "grey").replace("_", "-")
        raise click.UsageError(f"--{option} is for --images, which are not given")
    from nd_deploy.cli.render import progress
    from nd_deploy.explain.report import check_report, write_report
    from nd_deploy.page.canvas import require_drawing

    check_report(output, overwrite)
    require_drawing("explain")
    with stdout_kept_clean(as_json), progress() as report:
        explanation = _explain(target, checkpoint, settings, images, chosen, grey, report)
        files = write_report(output, explanation, overwrite, report)
    for note in explanation.notes():
        click.echo(f"note: {note}", err=True)
    if as_json:
        print_json({"report": str(output), **explanation.as_dict()})
    else:
        _show(explanation, files)


def _explain(
    target: str | None,
    checkpoint: Path | None,
    settings: dict[str, Any],
    images: Path | None,
    chosen: dict[str, Any],
    grey: bool,
    report: Report,
) -> Explanation:
    from nd_deploy.explain.explanation import Explanation

    subject, spectra = None, None
    if target is not None or checkpoint is not None:
        if target is not None and _is_bundle(target, checkpoint, settings):
            subject, spectra = _of_bundle(Path(target))
        else:
            subject, spectra = _of_network(target, checkpoint, settings, report)
        if not spectra.layers:
            raise InputError(
                f"{subject} has no ND layer, so there is no D to explain",
                "name a network that was built with Network Deconvolution; of a bundle, "
                "'nd-deploy inspect' shows the layers",
            )
    if images is None:
        return Explanation(subject, spectra, None)
    grey = grey or (
        spectra is not None and spectra.first is not None and spectra.first.channels == 1
    )
    found, total = _of_images(images, chosen, grey, report)
    return Explanation(subject, spectra, found, total)


def _is_bundle(target: str, checkpoint: Path | None, settings: dict[str, Any]) -> bool:
    """Whether a target is a bundle's folder, and not the name of a network."""
    if checkpoint is not None or settings or ":" in target:
        return False
    return Path(target).exists() or os.sep in target


def _of_bundle(path: Path) -> tuple[str, Spectra]:
    from nd_deploy.bundle import read_bundle
    from nd_deploy.bundle.manifest import REMADE
    from nd_deploy.explain.record import from_arrays

    bundle = read_bundle(path)
    try:
        return bundle.manifest.network, from_arrays(bundle.spectra())
    except ValueError as error:
        raise BundleError(f"what {path} keeps of each D is malformed: {error}", REMADE) from error


def _of_network(
    source: str | None, checkpoint_file: Path | None, settings: dict[str, Any], report: Report
) -> tuple[str, Spectra]:
    from nd_deploy import compat

    compat.torch()
    from nd_deploy.explain.network import spectra_of
    from nd_deploy.nd.checkpoint import load_into, read_checkpoint
    from nd_deploy.nd.recognise import recognise
    from nd_deploy.networks.source import load_network

    checkpoint, notes = None, []
    if checkpoint_file is None:
        notes.append(f"no --checkpoint: explaining the weights that {source} comes with")
    else:
        report(f"reading {checkpoint_file}")
        checkpoint = read_checkpoint(checkpoint_file)
        notes.extend(f"note: {note}" for note in checkpoint.notes)
    network = load_network(source, settings, checkpoint)
    notes.extend(f"note: {note}" for note in network.notes)
    if checkpoint is not None:
        load_into(network.module, checkpoint)
    report("recognising the ND layers")
    recognition = recognise(network.module)
    notes.extend(f"warning: {warning}" for warning in recognition.warnings)
    for note in notes:
        click.echo(note, err=True)
    return network.name, spectra_of(network.module, recognition)


def _of_images(
    folder: Path, chosen: dict[str, Any], grey: bool, report: Report
) -> tuple[ImageKernels, int]:
    from nd_deploy.explain.image_kernels import Settings, kernels_of_images
    from nd_deploy.explain.images import find_images

    limit = chosen.pop("max_images", _IMAGES)
    settings = Settings(**chosen)
    found = find_images(folder, limit, settings.seed)
    return kernels_of_images(found.files, settings, grey, report), found.total


def _show(explanation: Explanation, files: list[Path]) -> None:
    from nd_deploy.bundle.files import readable_size
    from nd_deploy.cli.render import number, table

    if explanation.spectra is not None:
        from nd_deploy.explain.spectrum import remark_on

        table(
            ("layer", "type", ">smallest", ">largest", ">cond(D)", ">bound", "remark"),
            [
                (
                    layer.layer or "(itself)",
                    layer.kind,
                    *(
                        (number(layer.eigenvalues.min()), number(layer.eigenvalues.max()))
                        if layer.is_read
                        else ("-", "-")
                    ),
                    number(layer.condition) if layer.is_read else "-",
                    "-" if layer.bound is None else number(layer.bound),
                    remark_on(layer),
                )
                for layer in explanation.spectra.layers
            ],
        )
        click.echo("smallest and largest: eigenvalues of D. bound: of cond(D), 1.5^n_iter.\n")
    click.echo(f"written to {files[0].parent}:")
    table(("file", ">size"), [(file.name, readable_size(file.stat().st_size)) for file in files])
