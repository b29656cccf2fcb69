"""`nd-deploy plugin`: build, list and check the TensorRT plugin library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nd_deploy.cli.common import FILE, json_option, print_json, stdout_kept_clean
from nd_deploy.cli.render import table

if TYPE_CHECKING:
    from nd_deploy.plugins.check import PluginReport
    from nd_deploy.plugins.library import PluginLibrary

# The headers of any version serve all, but for --self-register; these are JetPack 6's.
_DEFAULT_TAG = "v10.3.0"


@click.group(
    "plugin",
    short_help="Build, list and check the TensorRT plugin library.",
    invoke_without_command=True,
)
@click.pass_context
def plugin_command(context: click.Context) -> None:
    """Build, list and check the TensorRT plugin library.

    It computes the ND layers that cannot fold. TensorRT is not needed to build it, only nvcc,
    cmake and TensorRT's headers.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@plugin_command.command("build", short_help="Compile the library for this machine.")
@click.option("--output", type=FILE, help="Folder for the library.  [default: the user's cache]")
@click.option(
    "--headers",
    type=FILE,
    help="Folder of TensorRT's headers.  [default: TENSORRT_INCLUDE_DIR, else the system's]",
)
@click.option(
    "--fetch-headers",
    "tag",
    is_flag=False,
    flag_value=_DEFAULT_TAG,
    metavar="[TAG]",
    help="Fetch the headers from NVIDIA's open-source repository, of this tag.  "
    f"[{_DEFAULT_TAG} if none is given]",
)
@click.option(
    "--archs",
    help="Compute capabilities, such as 80,90.  [default: 75 to 120, as far as nvcc knows them]",
)
@click.option(
    "--self-register",
    is_flag=True,
    help="For ONNX Runtime's TensorRT provider: register the plugins when the library is loaded. "
    "The headers then have to be of its TensorRT's major version.",
)
@click.option(
    "--jobs", type=click.IntRange(1), help="Compilers at once.  [default: all processors]"
)
@json_option
def build_command(
    output: Path | None,
    headers: Path | None,
    tag: str | None,
    archs: str | None,
    self_register: bool,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Compile the plugin library, load it in another process, and put it in its place."""
    from nd_deploy.plugins.build import BuildOptions, build_library

    options = BuildOptions(
        headers=headers,
        fetch_tag=tag,
        archs=tuple(filter(None, (archs or "").replace(";", ",").split(","))),
        self_register=self_register,
        jobs=jobs,
    )
    library = build_library(output, options, lambda text: click.echo(text, err=True))
    if as_json:
        print_json(_library_fields(library))
        return
    table(("", ""), _facts(library))
    click.echo(f"next:\n  nd-deploy build BUNDLE --plugin {library.path}")


@plugin_command.command("list", short_help="List the plugins, and the libraries that are built.")
@json_option
def list_command(as_json: bool) -> None:
    """List the plugins that a library has, and the libraries that have been built here."""
    from nd_deploy.errors import NdDeployError
    from nd_deploy.plugins.library import OPS, built_libraries, default_folder, read_plugin

    libraries, damaged = [], []
    for path in built_libraries():
        try:
            libraries.append(read_plugin(path))
        except NdDeployError as error:
            damaged.append((str(path), error.problem))
    if as_json:
        print_json(
            {
                "plugins": list(OPS),
                "folder": str(default_folder()),
                "libraries": [_library_fields(library) for library in libraries],
                "damaged": [{"library": file, "problem": problem} for file, problem in damaged],
            }
        )
        return
    click.echo("plugins: " + ", ".join(OPS))
    for library in libraries:
        click.echo()
        table(("", ""), _facts(library))
    for file, problem in damaged:
        click.echo(f"\ndamaged: {file}\n  {problem}")
    if not libraries:
        click.echo(f"\nno library in {default_folder()}\nnext:\n  nd-deploy plugin build")


@plugin_command.command("check", short_help="Load a library in another process and look into it.")
@click.argument("file", type=FILE, required=False)
@click.option(
    "--self-register",
    is_flag=True,
    help="Check the one built here with --self-register.",
)
@json_option
def check_command(file: Path | None, self_register: bool, as_json: bool) -> None:
    """Load the library FILE in another process, and try it in each TensorRT that is here.

    Without FILE it is the one that ND_DEPLOY_PLUGIN names, or else the one that was built here.
    """
    from nd_deploy.plugins.check import check_library
    from nd_deploy.plugins.library import find_library

    with stdout_kept_clean(as_json):
        report = check_library(find_library(file, self_register).path)
    if as_json:
        print_json(report.as_dict())
    else:
        _show(report)
    report.require_sound()


def _show(report: PluginReport) -> None:
    table(("", ""), _facts(report.library))
    click.echo()
    if report.plugins:
        table(("plugin", "version", "namespace"), report.plugins)
    for host, version in report.hosts.items():
        click.echo(f"\n{host} {version} takes it")


def _facts(library: PluginLibrary) -> list[tuple[str, str]]:
    facts = [("library", str(library.path)), ("sha256", library.sha256)]
    receipt = library.receipt
    if receipt is None:
        return [*facts, ("built by", "somebody else: it has no receipt")]
    return [
        *facts,
        ("built by", f"nd-deploy {receipt.nd_deploy}, nvcc {receipt.nvcc}"),
        ("runs on", f"compute capability {', '.join(receipt.archs)}, and newer than {receipt.ptx}"),
        ("headers", f"TensorRT {receipt.headers}"),
        ("registers itself", "yes" if receipt.self_register else "no"),
    ]


def _library_fields(library: PluginLibrary) -> dict[str, object]:
    receipt = library.receipt
    return {
        "library": str(library.path),
        "sha256": library.sha256,
        "receipt": None if receipt is None else receipt.as_dict(),
    }
