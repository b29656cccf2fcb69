"""`nd-deploy models`: the networks there are, and what the paper reports of them."""

from __future__ import annotations

import dataclasses
import itertools
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from nd_deploy.cli.common import json_option, print_json
from nd_deploy.cli.render import table

if TYPE_CHECKING:
    from nd_deploy.models import ModelInfo

# The widest cells of columns that would otherwise make a line longer than 100 characters.
_DATASET_WIDTH = 18
_NOTE_WIDTH = 31
_MEANING_WIDTH = 38
_TEXT_WIDTH = 80


@click.command("models", short_help="List the networks there are, with the paper's figures.")
@click.argument("name", required=False)
@json_option
def models_command(name: str | None, as_json: bool) -> None:
    """List the networks of nd_deploy.models, or show the one called NAME with its options.

    The figures are percent, of the batch-normalised twin and of the ND network.
    """
    from nd_deploy import models

    if name is None:
        infos = [models.describe(known) for known in models.names()]
        if as_json:
            print_json({"models": [dataclasses.asdict(info) for info in infos]})
        else:
            _show_all(infos)
        return
    info = models.describe(name)
    if as_json:
        print_json(dataclasses.asdict(info))
    else:
        _show(info)


def _show_all(infos: Sequence[ModelInfo]) -> None:
    table(
        ("network", "input", "trained on", ">BN %", ">ND %", "note"),
        [line for info in infos for line in _lines(info)],
    )
    click.echo("\n= other names; BN and ND are the paper's figures for the two kinds")
    click.echo("next:\n  nd-deploy models NAME   its options and what they mean")


def _lines(info: ModelInfo) -> list[tuple[str, ...]]:
    figures = _figures(info)
    datasets = [
        line for dataset in info.dataset.split(", ") for line in _wrapped(dataset, _DATASET_WIDTH)
    ]
    return _beside(
        [info.name, *(f"= {alias}" for alias in info.aliases)],
        [_size(info)],
        [trained for trained, _, _ in figures] or datasets,
        [bn for _, bn, _ in figures],
        [nd for _, _, nd in figures],
        _wrapped(info.note, _NOTE_WIDTH),
    )


def _beside(*columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Cells of several lines as rows: each column goes on below for as long as it needs."""
    return list(itertools.zip_longest(*columns, fillvalue=""))


def _show(info: ModelInfo) -> None:
    click.echo(info.name)
    click.echo(textwrap.fill(info.note, _TEXT_WIDTH))
    facts = [
        ("other names", ", ".join(info.aliases)),
        ("input", _size(info)),
        ("trained on", info.dataset),
    ]
    click.echo()
    table(("", ""), [(what, value) for what, value in facts if value])
    click.echo()
    table(
        ("option", "default", "values", "meaning"),
        [
            line
            for option, default in info.options.items()
            for line in _option_lines(option, default)
        ],
    )
    if info.accuracy:
        epochs = " or ".join(str(n) for n in sorted({row.epochs for row in info.accuracy}))
        click.echo(f"\nin the paper, after {epochs} epochs:")
        table(("", ">BN %", ">ND %"), _figures(info))


def _option_lines(option: str, default: object) -> list[tuple[str, ...]]:
    from nd_deploy.models.info import CHOICES, MEANINGS

    values = CHOICES.get(option, (f"a positive {type(default).__name__}",))
    return _beside(
        [option], [str(default)], [", ".join(values)], _wrapped(MEANINGS[option], _MEANING_WIDTH)
    )


def _figures(info: ModelInfo) -> list[tuple[str, str, str]]:
    return [
        (f"{row.dataset}, {row.metric}", f"{row.bn:.2f}", f"{row.nd:.2f}") for row in info.accuracy
    ]


def _size(info: ModelInfo) -> str:
    return "x".join(map(str, info.input_shape))


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False)
