"""What several commands share: options, and what one JSON document holds."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from nd_deploy.bundle import Bundle

PRECISIONS = {"as-is": None, "fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}

Command = TypeVar("Command", bound=Callable[..., Any])

# click's own checks of a path would say neither what is expected nor what to do.
FILE = click.Path(path_type=Path)


def bundle_argument(command: Command) -> Command:
    """The folder that a conversion wrote."""
    return click.argument("bundle", type=FILE)(command)


def json_option(command: Command) -> Command:
    """Ask for one JSON document instead of tables."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document on stdout instead."
    )(command)


def precision_option(command: Command) -> Command:
    """Choose the float type of an engine: the command is given numpy's name of it, or None."""
    return click.option(
        "--precision",
        type=click.Choice(tuple(PRECISIONS)),
        default="as-is",
        show_default=True,
        callback=lambda context, option, name: PRECISIONS[name],
        help="TensorRT: what to compute in; fp16 and bf16 cast a float32 model. The parity budgets "
        "are those of float32.",
    )(command)


@contextlib.contextmanager
def stdout_kept_clean(as_json: bool) -> Iterator[None]:
    """Send what anybody prints to stderr, if stdout is to hold one JSON document."""
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        yield


def print_json(value: object) -> None:
    """Print one JSON document."""
    from nd_deploy.bundle import strict_json

    click.echo(strict_json.dumps(value), nl=False)


def bundle_document(bundle: Bundle) -> dict[str, Any]:
    """Everything that a bundle says about itself, as JSON-ready fields."""
    return {
        "bundle": str(bundle.path),
        "manifest": bundle.manifest.as_dict(),
        "decisions": bundle.decisions,
        "warnings": bundle.warnings,
        "parity": bundle.parity.as_dict(),
    }


def fields_of(record: Any) -> dict[str, Any]:  # noqa: ANN401
    """A result as JSON-ready fields."""
    return record.as_dict() if hasattr(record, "as_dict") else dataclasses.asdict(record)
