"""The command line: which commands there are, and how one ends."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

import nd_deploy
from nd_deploy.errors import NdDeployError

# In the order of use, which is the order of the help.
COMMANDS = (
    "convert",
    "inspect",
    "verify",
    "build",
    "run",
    "profile",
    "report",
    "export-trtexec",
    "serve",
    "export-triton",
    "export-ray",
    "explain",
    "models",
    "plugin",
    "doctor",
)


class Program(click.Group):
    """A group that imports a command when it is asked for, and ends as the exit codes promise."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name: `<name>_command` of the module of that name, "-" as "_"."""
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        module = importlib.import_module(f"nd_deploy.cli.{name}")
        command: click.Command = getattr(module, f"{name}_command")
        return command

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        *_: Any,  # noqa: ANN401
        **extra: Any,  # noqa: ANN401
    ) -> NoReturn:
        """Run the command, and leave with its exit code.

        A user's mistake ends with a message and a remedy on stderr; a bug keeps its traceback.
        """
        extra["standalone_mode"] = False
        try:
            code = super().main(args, prog_name or "nd-deploy", **extra)
        except NdDeployError as error:
            code = _fail(error.problem, error.remedy, error.exit_code)
        except click.UsageError as error:
            path = error.ctx.command_path if error.ctx else "nd-deploy"
            code = _fail(error.format_message(), f"see '{path} --help'", NdDeployError.exit_code)
        except click.Abort:
            code = _fail("interrupted; nothing was written", None, 130)
        sys.exit(code)


@click.group("nd-deploy", cls=Program, invoke_without_command=True)
@click.version_option(nd_deploy.__version__, prog_name="nd-deploy")
@click.pass_context
def main(context: click.Context) -> None:
    """Put networks trained with Network Deconvolution into production.

    Fold them into plain convolutions, prove that nothing changed, and run them.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _fail(problem: str, remedy: str | None, code: int) -> int:
    click.echo(f"error: {problem}", err=True)
    for line in (remedy or "").splitlines():
        click.echo(f"  {line}", err=True)
    return code
