"""`nd-deploy report`: fold, parity and latency of a bundle on one page."""

from __future__ import annotations

from pathlib import Path

import click

from nd_deploy.cli.common import (
    FILE,
    bundle_argument,
    bundle_document,
    json_option,
    print_json,
    stdout_kept_clean,
)


@click.command("report", short_help="Put fold, parity and latency on one page.")
@bundle_argument
@click.option(
    "--profile",
    "profiles",
    type=FILE,
    multiple=True,
    metavar="FILE.json",
    help="A measurement that 'nd-deploy profile --export' wrote; may be given again.",
)
@click.option(
    "-o", "--output", type=FILE, required=True, metavar="FILE.html", help="The page to write."
)
@click.option("--overwrite", is_flag=True, help="Replace the page that is there.")
@json_option
def report_command(
    bundle: Path, profiles: tuple[Path, ...], output: Path, overwrite: bool, as_json: bool
) -> None:
    """Put what became of BUNDLE's layers, its parity and its latency on one page.

    The page is one HTML file that needs nothing but itself. Without --profile it says how to
    measure the latency.
    """
    from nd_deploy.bundle import read_bundle
    from nd_deploy.cli.render import progress
    from nd_deploy.page.canvas import require_drawing
    from nd_deploy.report.json_file import read_profile
    from nd_deploy.report.page import EXTRA, report_page
    from nd_deploy.report.page.belonging import check_belongs
    from nd_deploy.report.page.output import check_page_output, write_page

    check_page_output(output, overwrite, bundle)
    require_drawing(EXTRA)
    with stdout_kept_clean(as_json), progress() as tell:
        tell(f"reading {bundle}")
        found = read_bundle(bundle)
        measured = [read_profile(path) for path in profiles]
        for profile, path in zip(measured, profiles, strict=True):
            check_belongs(profile, path, found)
        tell("drawing")
        page = report_page(measured, found)
        tell(f"writing {output}")
        write_page(output, page)
    if as_json:
        documents = [profile.as_dict() for profile in measured]
        print_json({"report": str(output), **bundle_document(found), "profiles": documents})
    else:
        click.echo(f"written to {output}")
