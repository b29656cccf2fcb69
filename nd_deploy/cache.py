"""Where nd-deploy keeps what it has built for this machine."""

from __future__ import annotations

import os
from pathlib import Path

from nd_deploy.errors import InputError

ENVIRONMENT = "ND_DEPLOY_CACHE"


def cache_folder(kind: str) -> Path:
    """Where things of a kind are kept unless told otherwise; the folder may not exist.

    Args:
        kind: such as "engines".

    Returns:
        The folder of that name in $ND_DEPLOY_CACHE, or else in `nd-deploy` of the user's cache
        folder.

    Raises:
        InputError: the user has no home folder.
    """
    given = os.environ.get(ENVIRONMENT, "")
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        if given:
            return Path(given).expanduser() / kind
        # The specification says to ignore one that is relative.
        cache = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    except RuntimeError as error:
        raise InputError(
            f"there is no home folder to keep {kind} in",
            f"set {ENVIRONMENT} to a folder that you may write to",
        ) from error
    return cache / "nd-deploy" / kind
