"""Whether a measurement is of a bundle."""

from __future__ import annotations

import shlex
from pathlib import Path

from nd_deploy.bundle import MODEL, Bundle
from nd_deploy.errors import InputError
from nd_deploy.profiling.results import Profile

_BUNDLE = "bundle"


def check_belongs(profile: Profile, path: Path, bundle: Bundle) -> None:
    """Refuse a measurement in which the bundle's model took no part.

    Args:
        profile: the measurement.
        path: the file that it was read from.
        bundle: what it is to be of.

    Raises:
        InputError: none of its models is the bundle's.
    """
    bundles = [model for model in profile.models if model.kind == _BUNDLE]
    if any(model.sha256 == bundle.manifest.files[MODEL] for model in bundles):
        return
    names = ", ".join(model.name for model in bundles)
    seen = f"of other models ({names})" if bundles else "of no bundle"
    raise InputError(
        f"{path} is a measurement {seen}, and not of {bundle.path / MODEL} as it is now",
        f"measure the bundle: nd-deploy profile {shlex.quote(str(bundle.path))} --export FILE.json",
    )
