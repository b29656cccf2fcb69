"""The page as a whole."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from html import escape

from nd_deploy.bundle import Bundle
from nd_deploy.page.canvas import require_drawing
from nd_deploy.page.document import document
from nd_deploy.page.markup import bullets, details, paragraph, section
from nd_deploy.profiling.results import Profile
from nd_deploy.report.headline import headline
from nd_deploy.report.page.comparison import distribution_section, ratio_section
from nd_deploy.report.page.fold import fold_section
from nd_deploy.report.page.layers import layers_section
from nd_deploy.report.page.names import in_common, named_rows
from nd_deploy.report.page.parity import parity_in_words, parity_section
from nd_deploy.report.page.receipts import receipts_section
from nd_deploy.report.page.roofline import roofline_section
from nd_deploy.report.page.rows import rows_section
from nd_deploy.report.page.style import STYLE
from nd_deploy.report.page.surroundings import environment_section
from nd_deploy.report.page.warnings import warnings_section

EXTRA = "report"
"""Of nd-deploy, which installs what draws the charts."""

_FOOTER = (
    "Times are compared in turns, so that a clock that drifts slows all alike; intervals are "
    "bootstrapped over the openings of the models and their turns."
)
# More sentences than this bury what the page is about.
_SAID, _TITLED = 6, 3


def profile_page(profile: Profile | None, bundle: Bundle | None) -> str:
    """A measurement, or a bundle, or both, as a page.

    Args:
        profile: the measurement, or None.
        bundle: whose fold and parity are shown too, or None.

    Returns:
        HTML that needs nothing but itself.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    return report_page([] if profile is None else [profile], bundle)


def report_page(profiles: Sequence[Profile], bundle: Bundle | None) -> str:
    """Any number of measurements, and the bundle that they are of, as a page.

    Args:
        profiles: the measurements.
        bundle: the bundle, or None.

    Returns:
        HTML that needs nothing but itself.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    require_drawing(EXTRA)
    title = _title(profiles, bundle)
    alone = len(profiles) == 1
    parts = [_header(title, profiles, bundle)]
    if alone:
        parts.append(_warnings(profiles[0]))
    if bundle is not None:
        parts += [_bundle_warnings(bundle), parity_section(bundle.parity), fold_section(bundle)]
    if alone:
        parts += _sections(profiles[0])
    else:
        parts += [_numbered(number, each) for number, each in enumerate(profiles, start=1)]
    if bundle is not None and not profiles:
        parts.append(_how_to_measure(bundle))
    return document(title, "\n".join(filter(None, parts)), _FOOTER, STYLE)


def _title(profiles: Sequence[Profile], bundle: Bundle | None) -> str:
    if bundle is not None:
        return bundle.manifest.network
    models = dict.fromkeys(row.contestant.model for each in profiles for row in each.rows)
    named = " and ".join(models) if len(models) <= _TITLED else f"{len(models)} models"
    return f"Latency of {named}"


def _header(title: str, profiles: Sequence[Profile], bundle: Bundle | None) -> str:
    parts = [f"<h1>{escape(title)}</h1>"]
    if bundle is not None:
        parts.append(paragraph(_bundle_in_words(bundle)))
        parts.append(paragraph(parity_in_words(bundle.parity)))
    for number, profile in enumerate(profiles, start=1):
        if len(profiles) > 1:
            parts.append(paragraph(f"{_name_of(number, profile)}:"))
        parts.append(_said(profile))
    return "\n".join(["<header>", *parts, "</header>"])


def _bundle_in_words(bundle: Bundle) -> str:
    manifest = bundle.manifest
    weights = manifest.checkpoint and manifest.checkpoint.get("name")
    source = f", weights from {weights}" if weights else ""
    return f"{manifest.nd_layers} ND layers, {manifest.precision}{source}."


def _said(profile: Profile) -> str:
    """The comparisons in sentences, or what there is where nothing was compared."""
    sentences = headline(profile)
    if not sentences:
        rows = len(profile.rows)
        return paragraph(f"{rows} row{'' if rows == 1 else 's'}, none compared with another.")
    rest = sentences[_SAID:]
    more = details(f"{len(rest)} more", bullets(rest, "said")) if rest else ""
    return bullets(sentences[:_SAID], "said") + more


def _numbered(number: int, profile: Profile) -> str:
    """One measurement of several, with sections of its own."""
    prefix = f"m{number}-"
    parts = [_warnings(profile, 3, prefix), *_sections(profile, 3, prefix)]
    return section(_name_of(number, profile), *parts, name=f"m{number}")


def _name_of(number: int, profile: Profile) -> str:
    gpu = profile.environment.gpu
    device = profile.environment.cpu.model if gpu is None else gpu.name
    return f"Measurement {number}, {device}, {profile.created}"


def _warnings(profile: Profile, level: int = 2, prefix: str = "") -> str:
    return warnings_section(profile, named_rows(profile), level, prefix)


def _sections(profile: Profile, level: int = 2, prefix: str = "") -> list[str]:
    rows = named_rows(profile)
    return [
        rows_section(rows, in_common(profile), level, prefix),
        ratio_section(rows, level, prefix),
        distribution_section(rows, level, prefix),
        layers_section(rows, profile.models, level, prefix),
        roofline_section(rows, level, prefix),
        environment_section(profile, level, prefix),
        receipts_section(rows, level, prefix),
    ]


def _bundle_warnings(bundle: Bundle) -> str:
    return section("The network", bullets(bundle.warnings, "warnings")) if bundle.warnings else ""


def _how_to_measure(bundle: Bundle) -> str:
    name = shlex.quote(str(bundle.path))
    commands = (
        f"nd-deploy profile {name} --against naive --export profile.json\n"
        f"nd-deploy report {name} --profile profile.json -o report.html"
    )
    return section(
        "Latency",
        paragraph("Nothing was measured yet. This measures it, and puts it on this page:"),
        f'<pre tabindex="0">{escape(commands)}</pre>',
        name="latency",
    )
