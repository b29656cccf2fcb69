"""Build the plugin library from the sources beside this file."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nd_deploy
from nd_deploy.bundle.files import sha256, why_not_written
from nd_deploy.errors import BackendError, InputError
from nd_deploy.plugins.check import check_library
from nd_deploy.plugins.library import PluginLibrary, default_folder, file_name, read_plugin
from nd_deploy.plugins.receipt import SOURCES, Receipt, receipt_path, sources_hash
from nd_deploy.plugins.toolchain import Toolchain, find_toolchain

LOG = "build.log"

_BUILT = "libnd_deploy_plugin.so"
# What cmake/*.cmake say of their choices.
_FACT = re.compile(r"^-- ND_(\w+)=(.*)$", re.MULTILINE)
_ERROR = re.compile(r"\berror:|\bfatal\b|\bCMake Error\b|^FAILED:")
_SHOWN_LINES = 12


@dataclass(frozen=True)
class BuildOptions:
    """How to build.

    Attributes:
        headers: the folder of TensorRT's headers; None looks for it.
        fetch_tag: fetch the headers of this tag of NVIDIA's open-source repository instead.
        archs: compute capabilities such as "90"; none for all that there is reason to build for
            and that nvcc knows.
        self_register: register the plugins when the library is loaded, as ONNX Runtime's TensorRT
            provider expects. Such a library serves one major version of TensorRT, the headers'.
        jobs: compilers at once; None for as many as there are processors.
    """

    headers: Path | None = None
    fetch_tag: str | None = None
    archs: tuple[str, ...] = ()
    self_register: bool = False
    jobs: int | None = None


def build_library(
    output: Path | None = None,
    options: BuildOptions | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> PluginLibrary:
    """Build the plugin library, load it in another process, and put it in its place.

    Nothing is replaced before the new library has been found sound.

    Args:
        output: the folder for library and receipt; None for the one where `find_library` looks.
        options: how to build.
        progress: is told what is being done.

    Returns:
        The library.

    Raises:
        MissingDependencyError: a compiler, CMake or the headers are missing.
        InputError: an option is wrong, or the folder cannot be written to.
        BackendError: the sources did not compile, or into a library that is not sound.
    """
    options = options or BuildOptions()
    _require_sensible(options)
    toolchain = find_toolchain(options.headers, options.fetch_tag is not None)
    folder = (default_folder() if output is None else output).absolute()
    with _workplace(folder) as work:
        (folder / LOG).unlink(missing_ok=True)
        facts = _configure(toolchain, options, work, progress, folder / LOG)
        progress(f"compiling for compute capability {facts['ARCHS'].replace(';', ', ')}")
        command = [str(toolchain.cmake), "--build", str(work), "--parallel"]
        _run([*command, str(options.jobs or os.cpu_count() or 1)], folder / LOG)
        built = work / file_name(options.self_register)
        (work / _BUILT).rename(built)
        _write_receipt(built, _receipt(built, facts, options))
        progress("loading the library in another process")
        check_library(built, hosts=()).require_sound()
        for file in (built, receipt_path(built)):
            file.replace(folder / file.name)
    return read_plugin(folder / built.name)


def _require_sensible(options: BuildOptions) -> None:
    wrong = [arch for arch in options.archs if not re.fullmatch(r"\d{2,3}", arch)]
    if wrong:
        raise InputError(
            f"--archs has {', '.join(wrong)}, which is no compute capability",
            "give them without the dot, such as --archs 80,90",
        )
    if options.headers is not None and options.fetch_tag is not None:
        raise InputError("--headers and --fetch-headers were both given", "drop one of the two")
    if options.fetch_tag is not None and shutil.which("git") is None:
        raise InputError(
            "--fetch-headers needs git, which was not found",
            "install git, or name the folder of TensorRT's headers with --headers",
        )


@contextlib.contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """A folder to build in, beside the result so that moving it there is one step."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".building-", dir=folder) as work:
            yield Path(work)
    except OSError as error:
        problem, remedy = why_not_written(error, 100 << 20)
        raise InputError(f"the library cannot be built in {folder}: {problem}", remedy) from error


def _configure(
    toolchain: Toolchain,
    options: BuildOptions,
    work: Path,
    progress: Callable[[str], None],
    log: Path,
) -> dict[str, str]:
    """Run CMake; returns what it says that it chose."""
    definitions = {
        "CMAKE_CUDA_COMPILER": str(toolchain.nvcc),
        "CMAKE_BUILD_TYPE": "Release",
        "ND_SELF_REGISTER": "ON" if options.self_register else "OFF",
        "TENSORRT_INCLUDE_DIR": str(toolchain.headers or ""),
    }
    if options.archs:
        definitions["ND_ARCHS"] = ";".join(options.archs)
    if options.fetch_tag is not None:
        definitions |= {"ND_FETCH_TENSORRT_HEADERS": "ON", "ND_TENSORRT_TAG": options.fetch_tag}
    progress(
        f"fetching the headers of TensorRT {options.fetch_tag}"
        if toolchain.headers is None
        else f"using TensorRT's headers in {toolchain.headers}"
    )
    command = [toolchain.cmake, "-S", SOURCES, "-B", work, "-G", toolchain.generator]
    text = _run([*map(str, command), *(f"-D{k}={v}" for k, v in definitions.items())], log)
    return dict(_FACT.findall(text))


def _run(command: Sequence[str], log: Path) -> str:
    """What a program prints.

    Raises:
        BackendError: it failed; the message has its errors, and all that it printed is in `log`.
    """
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    if done.returncode == 0:
        return done.stdout
    log.write_text(done.stdout, encoding="utf-8")
    lines = done.stdout.splitlines()
    first = next((n for n, line in enumerate(lines) if _ERROR.search(line)), -_SHOWN_LINES)
    shown = "\n".join(lines[first:][:_SHOWN_LINES])
    raise BackendError(
        f"the plugin library did not build:\n{shown}",
        f"mend what this says; everything that was printed is in {log}",
    )


def _receipt(library: Path, facts: dict[str, str], options: BuildOptions) -> Receipt:
    archs = tuple(facts["ARCHS"].split(";"))
    return Receipt(
        sha256=sha256(library),
        nd_deploy=nd_deploy.__version__,
        sources=sources_hash(),
        archs=archs,
        ptx=archs[-1],
        headers=facts["HEADERS_VERSION"],
        nvcc=facts["NVCC"],
        self_register=options.self_register,
    )


def _write_receipt(library: Path, receipt: Receipt) -> None:
    text = json.dumps(receipt.as_dict(), indent=2, sort_keys=True) + "\n"
    receipt_path(library).write_text(text, encoding="utf-8")
