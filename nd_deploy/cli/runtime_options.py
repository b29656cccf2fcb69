"""What a model is run with, and how: the options of every command that runs one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from nd_deploy.cli.common import FILE, precision_option
from nd_deploy.errors import InputError
from nd_deploy.runtime.options import ORT_CPU, RUNTIMES, RunOptions

Command = TypeVar("Command", bound=Callable[..., Any])

engine_option = click.option(
    "--engine", type=FILE, metavar="FILE", help="TensorRT: the engine to run."
)
trust_option = click.option(
    "--trust-unrecorded",
    is_flag=True,
    help="Run an --engine of which nothing is recorded; its code is run.",
)
plugin_option = click.option(
    "--plugin",
    "plugins",
    type=FILE,
    metavar="FILE",
    multiple=True,
    help="TensorRT: a library of plugins; its code is run.",
)
tf32_option = click.option(
    "--tf32", is_flag=True, help="GPU: let float32 products be computed in TF32."
)

_OPTIONS = (
    click.option(
        "--runtime",
        type=click.Choice(RUNTIMES),
        default=ORT_CPU,
        show_default=True,
        help="What is to run the model; it is that or an error.",
    ),
    click.option(
        "--batch",
        metavar="MIN:OPT:MAX",
        help="TensorRT: batches to build for, or one alone.",
    ),
    click.option(
        "--shape",
        "shapes",
        metavar="INPUT=MIN:OPT:MAX",
        multiple=True,
        help="TensorRT: whole shapes of an input with other open axes, such as "
        "input=1x3x224x224:8x3x224x224:32x3x512x512.",
    ),
    engine_option,
    trust_option,
    plugin_option,
    precision_option,
    tf32_option,
    click.option(
        "--cuda-graph",
        is_flag=True,
        help="GPU: capture a CUDA graph a shape, and replay it.",
    ),
    click.option(
        "--option",
        "own",
        metavar="KEY=VALUE",
        multiple=True,
        help="An option of the runtime's own, such as threads=4; repeat it for more.",
    ),
)


def runtime_options(command: Command) -> Command:
    """Choose what runs a model: the command is given `runtime` and `how`, a `RunOptions`."""

    @functools.wraps(command)
    def gathered(
        own: tuple[str, ...],
        plugins: tuple[Path, ...],
        precision: str | None,
        tf32: bool,
        cuda_graph: bool,
        engine: Path | None,
        trust_unrecorded: bool,
        batch: str | None,
        shapes: tuple[str, ...],
        **rest: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        how = RunOptions(
            options=key_values(own),
            plugins=plugins,
            precision=precision,
            tf32=tf32,
            cuda_graph=cuda_graph,
            engine=engine,
            trust_unrecorded=trust_unrecorded,
            batch=batch,
            shapes=shapes,
        )
        return command(how=how, **rest)

    decorated: Any = gathered
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def key_values(texts: Iterable[str]) -> dict[str, str]:
    """Read what was given to --option, each as KEY=VALUE.

    Raises:
        InputError: one is not of that form, or a key is given twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"--option {text} is no KEY=VALUE", "write it as threads=4")
        if name in pairs:
            raise InputError(f"--option {name} is given twice", "give it once")
        pairs[name] = value
    return pairs
