"""Code that a bundle names: it is run only where it is the user's own.

A bundle may come from anyone, and a name with settings is enough to call `os.system`. So the
package has to lie in the current folder, and what is called has to be defined in it.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from nd_deploy.errors import InputError

_OTHERWISE = (
    "run in the folder that holds the package, or give the network from Python: "
    "nd_deploy.profile(..., network=module)"
)


def require_here(module: str) -> None:
    """Refuse a module whose package does not lie in the current folder; nothing is imported.

    Args:
        module: its dotted name.

    Raises:
        InputError: it lies elsewhere, or there is none.
    """
    package = module.partition(".")[0]
    if not _places(package):
        raise InputError(f"there is no package {package!r} in the current folder", _OTHERWISE)
    if not _is_here(package):
        raise InputError(
            f"the package {package!r} is not one of the current folder, and its code is not run "
            "on the word of a bundle",
            _OTHERWISE,
        )


def require_defined_here(source: str, function: object) -> None:
    """Refuse to call what the user's modules have only imported from elsewhere.

    Args:
        source: what stands for the callable, for the message.
        function: the callable.

    Raises:
        InputError: it is not defined in the current folder.
    """
    home = str(getattr(function, "__module__", None))
    if not _is_here(home.partition(".")[0]):
        raise InputError(
            f"{source} is defined in {home}, and is not called on the word of a bundle",
            "convert the network with a function of your own as its SOURCE, or give it from "
            "Python: nd_deploy.profile(..., network=module)",
        )


def _is_here(package: str) -> bool:
    here = Path.cwd().resolve()
    places = [place.resolve() for place in _places(package)]
    own = (here / package, here / f"{package}.py")
    return bool(places) and all(place in own for place in places)


def _places(package: str) -> list[Path]:
    """Where Python would find a package: its folders, or its file."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        # What is loaded without a file, such as __main__, has no spec.
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return [Path(place) for place in spec.submodule_search_locations]
    return [] if spec.origin is None else [Path(spec.origin)]
