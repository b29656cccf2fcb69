"""How the parity gates are shown, in whichever command shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nd_deploy.cli.render import table
from nd_deploy.parity.wording import ran_on

if TYPE_CHECKING:
    from nd_deploy.parity.report import ParityReport


def show_gates(report: ParityReport) -> None:
    """Print a row for each gate, and how the predictions agree."""
    table(
        ("gate", "compares", ">error", ">budget", "result"),
        [
            (
                gate.name,
                gate.compares + (" (at conversion)" if gate.recorded else ""),
                f"{gate.error:.1e}",
                f"{gate.budget:.1e}",
                "PASS" if gate.passed else "FAIL",
            )
            for gate in report.gates
        ],
    )
    if report.top1_agreement is not None:
        click.echo(
            f"top-1 agrees with PyTorch on {report.top1_agreement:.1%} of {report.samples} inputs"
        )


def show_origins(report: ParityReport) -> None:
    """Print where each gate's budget comes from, and what the gate ran on."""
    table(
        ("gate", "budget from", "ran on"),
        [(gate.name, gate.budget_reason, ran_on(gate)) for gate in report.gates],
    )
