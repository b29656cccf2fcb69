"""`nd-deploy run`: images or arrays through the deployed model."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nd_deploy.cli.common import (
    FILE,
    bundle_argument,
    fields_of,
    json_option,
    print_json,
    stdout_kept_clean,
)
from nd_deploy.cli.render import progress, table
from nd_deploy.cli.runtime_options import runtime_options
from nd_deploy.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd_deploy.bundle import Bundle
    from nd_deploy.runtime.base import Runner
    from nd_deploy.runtime.options import RunOptions


@click.command("run", short_help="Run a bundle on images or arrays.")
@bundle_argument
@click.argument("images", type=FILE, nargs=-1)
@click.option(
    "--top-k",
    metavar="N",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="How many classes to print for each image.",
)
@click.option("--npz", type=FILE, metavar="FILE", help="Run these arrays instead of images.")
@click.option("--output", type=FILE, metavar="FILE", help="Where to save what --npz gives.")
@runtime_options
@json_option
def run_command(
    bundle: Path,
    images: tuple[Path, ...],
    top_k: int,
    npz: Path | None,
    output: Path | None,
    runtime: str,
    how: RunOptions,
    as_json: bool,
) -> None:
    """Run BUNDLE on IMAGES and print the likeliest classes, or on the arrays of --npz."""
    if bool(images) == bool(npz):
        raise InputError(
            f"there is {'both' if npz else 'nothing'} to run on",
            "name image files, or give arrays with --npz",
        )
    if output is not None and npz is None:
        raise InputError("--output is for --npz", "for images, keep what is printed, or use --json")
    from nd_deploy.bundle import read_bundle
    from nd_deploy.runtime.choose import deployed_model, opener

    found = read_bundle(bundle)
    with stdout_kept_clean(as_json):
        with progress() as report:
            runner = opener(runtime, how, report)(deployed_model(found, runtime))
        document = (
            _run_arrays(runner, npz, output)
            if npz is not None
            else _run_images(runner, found, images, top_k)
        )
    if as_json:
        print_json(document)
    elif npz is not None:
        _show_arrays(document, output)
    else:
        _show_guesses(document)


def _run_images(
    runner: Runner, bundle: Bundle, images: Sequence[Path], top_k: int
) -> dict[str, Any]:
    from nd_deploy.classify import classify

    return {
        "images": [
            {"image": str(path), "top": [fields_of(guess) for guess in guesses]}
            for path, guesses in classify(runner, bundle.manifest, images, top_k)
        ]
    }


def _run_arrays(runner: Runner, source: Path, output: Path | None) -> dict[str, Any]:
    import numpy as np

    from nd_deploy.bundle.files import save_arrays, why_not_written

    results = runner.run(_load(source))
    if output is not None:
        try:
            save_arrays(output, results)
        except OSError as error:
            needed = sum(result.nbytes for result in results.values())
            reason, remedy = why_not_written(error, needed)
            raise InputError(f"--output {output} cannot be written: {reason}", remedy) from error
    return {
        "outputs": [
            {
                "name": name,
                "dtype": str(array.dtype),
                "shape": list(array.shape),
                "min": np.min(array, initial=np.inf),
                "max": np.max(array, initial=-np.inf),
            }
            for name, array in results.items()
        ]
    }


def _load(path: Path) -> dict[str, NDArray[Any]]:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}", "name what numpy.savez wrote") from error
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(
            f"--npz {path} cannot be read: {error}",
            "write it with numpy.savez, each array under the name of an input",
        ) from error


def _show_guesses(document: dict[str, Any]) -> None:
    table(
        ("image", ">probability", "label"),
        [
            (result["image"] if rank == 0 else "", f"{guess['probability']:.2%}", guess["label"])
            for result in document["images"]
            for rank, guess in enumerate(result["top"])
        ],
    )


def _show_arrays(document: dict[str, Any], output: Path | None) -> None:
    table(
        ("output", "dtype", "shape", ">min", ">max"),
        [
            (
                result["name"],
                result["dtype"],
                "x".join(map(str, result["shape"])),
                f"{result['min']:.6g}",
                f"{result['max']:.6g}",
            )
            for result in document["outputs"]
        ],
    )
    if output is not None:
        click.echo(f"written to {output}")
