"""The published schema of a measurement's JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nd_deploy.bundle import strict_json

PROFILE_SCHEMA = Path(__file__).with_name("profile.schema.json")
"""JSON Schema, draft 2020-12; it comes with the package."""


def profile_schema() -> dict[str, Any]:
    """The schema of what `nd_deploy.report.json_file.to_json` writes."""
    return strict_json.read(PROFILE_SCHEMA)
