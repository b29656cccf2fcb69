import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from elf_file import AARCH64, elf_file

from nd_deploy.compat.elf import read_library


@pytest.fixture
def library(tmp_path):
    def write(content):
        path = tmp_path / "lib.so"
        path.write_bytes(content)
        return path

    return write


def test_a_library_tells_what_it_needs_and_is_called(library):
    found = read_library(library(elf_file(("libnvinfer.so.10", "libc.so.6"), "libx.so.1")))
    assert found.machine == "x86_64"
    assert found.name == "libx.so.1"
    assert found.needed == ("libnvinfer.so.10", "libc.so.6")


def test_another_machine_is_told(library):
    found = read_library(library(elf_file(machine=AARCH64)))
    assert (found.machine, found.name, found.needed) == ("aarch64", None, ())


def test_the_compilers_own_tool_agrees():
    tool = shutil.which("readelf")
    if tool is None or not sys.platform.startswith("linux"):
        pytest.skip("needs readelf")
    import _ctypes

    said = subprocess.run([tool, "-d", _ctypes.__file__], capture_output=True, text=True).stdout
    expected = [line.split("[")[1].split("]")[0] for line in said.splitlines() if "NEEDED" in line]
    assert expected
    assert list(read_library(Path(_ctypes.__file__)).needed) == expected


@pytest.mark.parametrize(
    "content", [b"", b"MZ", b"\x7fELF\x01\x01", b"\x7fELF\x02\x02" + bytes(99)]
)
def test_something_else_is_no_library(library, content):
    with pytest.raises(ValueError, match="no 64-bit shared library"):
        read_library(library(content))


def test_a_library_that_is_cut_off_is_told_wherever_it_is_cut(library):
    whole = elf_file(("libnvinfer.so.10",), "libx.so.1")
    for end in (*range(7, len(whole), 11), len(whole) - 1):
        with pytest.raises(ValueError, match="cut off or damaged"):
            read_library(library(whole[:end]))
