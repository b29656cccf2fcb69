"""Shared libraries that are wrong in one way each, compiled from a few lines of C."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from nd_deploy.plugins.library import OPS

# A plugin creator by hand: the functions of its interface in their order, without TensorRT.
_CREATORS = """
typedef struct { const char* kind; int major, minor; } Info;
typedef struct { void** functions; const char* name; } Creator;
static int language(void* self) { (void)self; return 0; }
static Info info(void* self) { (void)self; Info i = {"KIND", 1, 0}; return i; }
static const char* name(Creator* self) { return self->name; }
static const char* version(void* self) { (void)self; return "1"; }
static const char* space(void* self) { (void)self; return "NAMESPACE"; }
static void* functions[] = {language, info, 0, 0, 0, 0, name, version, space};
static Creator creators[] = {LIST};
static void* pointers[sizeof creators / sizeof *creators];
void** getCreators(int* count) {
  *count = sizeof creators / sizeof *creators;
  for (int n = 0; n < *count; ++n) pointers[n] = creators + n;
  return pointers;
}
"""


def plugin_source(
    ops: Sequence[str] = OPS,
    interface_version: int | None = 1,
    kind: str = "PLUGIN CREATOR_V3ONE",
    namespace: str = "nd_deploy",
) -> str:
    """C source of a library whose getCreators lists `ops`, which cannot be created."""
    listed = ", ".join(f'{{functions, "{op}"}}' for op in ops)
    text = _CREATORS.replace("LIST", listed).replace("KIND", kind)
    if interface_version is not None:
        text += f"int nd_library_version(void) {{ return {interface_version}; }}\n"
    return text.replace("NAMESPACE", namespace)


def compile_library(folder: Path, source: str, name: str = "library.so") -> Path:
    """Compile C source into a shared library; skips where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    path = folder / name
    path.with_suffix(".c").write_text(source)
    command = [compiler, "-w", "-shared", "-fPIC", path.with_suffix(".c"), "-o", path]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return path
