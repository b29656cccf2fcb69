"""Where the plugin library is: the one that is named, or the one that was built here."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nd_deploy.bundle.files import sha256
from nd_deploy.cache import cache_folder
from nd_deploy.compat.elf import read_library
from nd_deploy.errors import BackendError, InputError
from nd_deploy.plugins.receipt import Receipt, read_receipt, receipt_path, sources_hash

ENVIRONMENT = "ND_DEPLOY_PLUGIN"
OPS = (
    "NDChannelDeconv",
    "NDChannelDeconvRelu",
    "NDChannelDeconvLeftover",
    "NDChannelDeconvLeftoverRelu",
    "NDFastDeconvDynamic",
    "NDChannelDeconvDynamic",
)

_BUILD = "build the library: nd-deploy plugin build"


@dataclass(frozen=True)
class PluginLibrary:
    """A plugin library, of which the file alone has been looked at.

    Attributes:
        path: absolute.
        sha256: of the file.
        receipt: how it was built; None if it was not built by nd-deploy.
    """

    path: Path
    sha256: str
    receipt: Receipt | None


def file_name(self_register: bool = False) -> str:
    """What a library of ours is called."""
    return f"libnd_deploy_plugin{'_self_registering' if self_register else ''}.so"


def default_folder() -> Path:
    """Where libraries are built to unless told otherwise; see `nd_deploy.cache.cache_folder`."""
    return cache_folder("plugins")


def find_library(file: Path | None = None, self_register: bool = False) -> PluginLibrary:
    """Find the plugin library to use.

    That is the one given, else the one that the environment names, else the one that was built.

    Args:
        file: as the user gave it; None if not.
        self_register: look for a build that registers its plugins by being loaded.

    Returns:
        The library, whose plugins `check_library` looks at.

    Raises:
        InputError: the file given does not exist, or cannot be a library of this machine.
        BackendError: none has been built, or not from these sources, or a library has been
            changed since it was built.
    """
    named = os.environ.get(ENVIRONMENT)
    if file is not None or named:
        given = file if file is not None else Path(str(named))
        if not given.is_file():
            origin = "" if file is not None else f" that {ENVIRONMENT} names"
            raise InputError(f"the library {given}{origin} is no file", _BUILD)
        return read_plugin(given)
    built = default_folder() / file_name(self_register)
    flag = " --self-register" if self_register else ""
    if not built.is_file():
        raise BackendError(
            f"the ND plugin library has not been built: there is no {built}",
            f"{_BUILD}{flag}; or name one with --plugin FILE",
        )
    library = read_plugin(built)
    if library.receipt is None or library.receipt.sources != sources_hash():
        maker = "" if library.receipt is None else f", by nd-deploy {library.receipt.nd_deploy}"
        raise BackendError(
            f"{built} was built from other sources than this nd-deploy's{maker}",
            f"{_BUILD}{flag}",
        )
    return library


def read_plugin(path: Path) -> PluginLibrary:
    """Look at a library's file and its receipt, without loading it.

    Raises:
        InputError: it cannot be read, or is no library of this machine.
        BackendError: it has been changed since it was built.
    """
    path = path.absolute()
    try:
        machine = read_library(path).machine
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no plugin library: {error}", _BUILD) from error
    if machine != platform.machine():
        raise InputError(
            f"{path} is a library for {machine}, and this machine is {platform.machine()}",
            f"{_BUILD}, on this machine",
        )
    digest = sha256(path)
    try:
        receipt = read_receipt(path)
    except (OSError, ValueError) as error:
        raise BackendError(f"the receipt of {path} is damaged: {error}", _BUILD) from error
    if receipt is not None and receipt.sha256 != digest:
        raise BackendError(
            f"{path} is not the library that {receipt_path(path)} describes", f"{_BUILD} again"
        )
    return PluginLibrary(path, digest, receipt)


def built_libraries(folder: Path | None = None) -> Iterator[Path]:
    """The libraries of ours that are in a folder, by default that of `default_folder`."""
    home = default_folder() if folder is None else folder
    for self_register in (False, True):
        path = home / file_name(self_register)
        if path.is_file():
            yield path
