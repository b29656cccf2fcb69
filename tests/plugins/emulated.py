"""Build the library's CUDA sources for the CPU, and call them.

The sources are compiled unchanged by g++ against the headers in emulator/, which run a kernel's
blocks one after another and a block's threads as fibers. What that shows is whether a kernel
computes the right thing, stays inside its memory (`sanitize=True`) and has its barriers
(`Library.set_order`); what it cannot show is speed.
"""

from __future__ import annotations

import ctypes
import enum
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
EMULATOR = HERE / "emulator"
CSRC = HERE.parents[1] / "plugins" / "csrc"


class Order(enum.IntEnum):
    """In which order warps and lanes run between two barriers."""

    FORWARD = 0
    REVERSE = 1
    RANDOM = 2


class NdFastDeconvShape(ctypes.Structure):
    """launchers.h's struct of the same name."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "in_channels", "out_channels", "groups")),
        *((name, ctypes.c_int64) for name in ("block", "height", "width")),
        *(
            (name, ctypes.c_int32 * 2)
            for name in ("kernel", "padding_begin", "padding_end", "dilation", "sampling")
        ),
        ("n_iter", ctypes.c_int32),
        ("eps", ctypes.c_float),
    ]


_POINTER, _INT, _LONG, _SIZE, _FLOAT = (
    ctypes.c_void_p,
    ctypes.c_int,
    ctypes.c_int64,
    ctypes.c_size_t,
    ctypes.c_float,
)
_SHAPE = ctypes.POINTER(NdFastDeconvShape)
_SIGNATURES = {
    "nd_channel_deconv": (_INT, [*[_POINTER] * 6, _INT, *[_LONG] * 4, _INT, _POINTER]),
    "nd_fast_deconv_dynamic_workspace": (_SIZE, [_SHAPE, _INT]),
    "nd_fast_deconv_dynamic": (
        _INT,
        [*[_POINTER] * 5, _INT, _SHAPE, _POINTER, _SIZE, _POINTER],
    ),
    "nd_channel_deconv_dynamic_workspace": (_SIZE, [*[_LONG] * 5, _INT]),
    "nd_channel_deconv_dynamic": (
        _INT,
        [_POINTER, _POINTER, _INT, *[_LONG] * 5, _FLOAT, _INT, _INT, _POINTER, _SIZE, _POINTER],
    ),
    "nd_error_text": (ctypes.c_char_p, [_INT]),
    "nd_library_version": (_INT, []),
    "nd_emulator_set_order": (None, [_INT, ctypes.c_uint]),
    "nd_emulator_set_compute_capability": (None, [_INT]),
}


class Library:
    """A built library; the C functions that it holds are attributes of `functions`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.functions = ctypes.CDLL(str(path))
        for name, (result, arguments) in _SIGNATURES.items():
            # A test builds the sources that it is about, so not every function is there.
            function = getattr(self.functions, name, None)
            if function is not None:
                function.restype, function.argtypes = result, arguments

    @contextmanager
    def order(self, order: Order, seed: int = 0) -> Iterator[None]:
        """Run kernels with the threads in this order; forward again afterwards."""
        self.functions.nd_emulator_set_order(order, seed)
        try:
            yield
        finally:
            self.functions.nd_emulator_set_order(Order.FORWARD, 0)

    @contextmanager
    def compute_capability(self, capability: int) -> Iterator[None]:
        """Be a GPU of this compute capability, such as 75; 90 again afterwards."""
        self.functions.nd_emulator_set_compute_capability(capability)
        try:
            yield
        finally:
            self.functions.nd_emulator_set_compute_capability(90)


def build(
    tmp_path_factory: pytest.TempPathFactory,
    *sources: str | Path,
    sanitize: bool = False,
    includes: Sequence[Path] = (),
    flags: Sequence[str] = (),
) -> Path:
    """Compile sources into a shared library, once a test run.

    Args:
        tmp_path_factory: pytest's fixture of that name.
        sources: .cu and .cpp files; a relative path is one in plugins/csrc.
        sanitize: with AddressSanitizer; the library is then only to be used by `run_sanitized`.
        includes: further folders of headers.
        flags: further options for g++.

    Returns:
        The library. The test is skipped where there is no g++, and fails where g++ does.
    """
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs g++ to compile the kernels for the CPU")
    paths = [CSRC / source for source in sources]
    command = [
        compiler,
        *("-std=c++17", "-O1", "-g1", "-march=native", "-ffp-contract=off", "-shared", "-fPIC"),
        # Two libraries in one process keep their state apart.
        *("-fvisibility=hidden", "-fno-gnu-unique"),
        *("-Wall", "-Wextra", "-Wno-unknown-pragmas", "-DND_EMULATED"),
        *(f"-I{folder}" for folder in (EMULATOR, CSRC, *includes)),
        *(["-fsanitize=address", "-fno-omit-frame-pointer"] if sanitize else []),
        *flags,
        *("-x", "c++", *map(str, paths), str(EMULATOR / "controls.cpp")),
    ]
    name = hashlib.sha256("\0".join(command).encode()).hexdigest()[:16]
    library = _session_folder(tmp_path_factory) / f"lib{name}.so"
    if not library.exists():
        # Workers of pytest-xdist may build the same library at once.
        unfinished = library.with_suffix(f".{os.getpid()}")
        built = subprocess.run([*command, "-o", str(unfinished)], capture_output=True, text=True)
        assert built.returncode == 0, built.stderr
        unfinished.replace(library)
    return library


def run_sanitized(library: Path, script: str, *arguments: str) -> None:
    """Run a Python script that loads a library built with `sanitize=True`.

    The script finds `emulated` and this folder's other modules importable and the library's path
    as `sys.argv[1]`, before `arguments`. The test fails where it ends with an error, as it does
    at the first access outside of an allocation.
    """
    runtime = subprocess.run(
        ["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(runtime).is_absolute():
        pytest.skip("needs AddressSanitizer's run-time library (libasan)")
    environment = {
        **os.environ,
        "LD_PRELOAD": runtime,
        # Python frees little at its end, which is not what is tested.
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONPATH": str(HERE),
    }
    command = [sys.executable, "-c", script, str(library), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def _session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder = folder / "emulated"
    folder.mkdir(exist_ok=True)
    return folder
