"""Whether the deployed model is the trained network."""

from __future__ import annotations

from nd_deploy.page.markup import details, paragraph, section
from nd_deploy.parity.report import Gate, ParityReport
from nd_deploy.parity.wording import ran_on
from nd_deploy.report.page.pieces import table


def parity_section(parity: ParityReport) -> str:
    """The gates, and how the predictions agree."""
    return section(
        "Parity",
        table(
            "Largest error over the largest output, against PyTorch in float64, at conversion",
            ("gate", "compares", ">error", ">budget", "result"),
            [
                (
                    gate.name,
                    gate.compares,
                    f"{gate.error:.1e}",
                    f"{gate.budget:.1e}",
                    "pass" if gate.passed else "FAIL",
                )
                for gate in parity.gates
            ],
        ),
        "" if parity.top1_agreement is None else paragraph(_agreement(parity)),
        details(
            "Where the budgets come from, and what the gates ran on",
            table("Gates", ("gate", "budget from", "ran on"), map(_origin, parity.gates)),
        ),
        name="parity",
    )


def parity_in_words(parity: ParityReport) -> str:
    """The result in a sentence."""
    failed = [gate.name for gate in parity.gates if not gate.passed]
    if failed:
        return f"The model is not the trained network: the gate {' and '.join(failed)} failed."
    worst = max((gate.error for gate in parity.gates), default=0.0)
    return (
        f"The model is the trained network: {len(parity.gates)} of {len(parity.gates)} parity "
        f"gates passed, with an error of at most {worst:.1e}."
    )


def _agreement(parity: ParityReport) -> str:
    return (
        f"The largest score is PyTorch's on {parity.top1_agreement:.1%} of {parity.samples} inputs."
    )


def _origin(gate: Gate) -> tuple[str, str, str]:
    return gate.name, gate.budget_reason, ran_on(gate)
