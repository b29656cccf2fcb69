"""`nd-deploy doctor`: what works here, and what would mend the rest."""

from __future__ import annotations

import click

from nd_deploy.cli.common import json_option, print_json, stdout_kept_clean
from nd_deploy.cli.render import table


@click.command("doctor", short_help="Show what works here, and the remedy for the rest.")
@json_option
def doctor_command(as_json: bool) -> None:
    """Show what is installed, what nd-deploy can and cannot do here, and the remedy."""
    from nd_deploy.doctor import examine
    from nd_deploy.errors import NdDeployError

    with stdout_kept_clean(as_json):
        diagnosis = examine()
    if as_json:
        print_json(diagnosis.as_dict())
    else:
        facts = diagnosis.environment | {"GPU": "; ".join(diagnosis.gpus) or "none found"}
        table(("", ""), [*facts.items(), *diagnosis.packages.items()])
        click.echo()
        table(
            ("", "", ""),
            [
                (capability.name, "yes" if capability.available else "no", capability.reason)
                for capability in diagnosis.capabilities
            ],
        )
        lacking = [
            ("" if place else capability.name, line)
            for capability in diagnosis.capabilities
            for place, line in enumerate((capability.remedy or "").splitlines())
        ]
        if lacking:
            click.echo("\nto have what is missing:")
            table(("", ""), lacking)
        for finding in diagnosis.findings:
            click.echo(f"\ndoes not fit: {finding.what}")
            for line in finding.remedy.splitlines():
                click.echo(f"  {line}")
    if diagnosis.conflict:
        raise NdDeployError(diagnosis.conflict, "then run 'nd-deploy doctor' again")
