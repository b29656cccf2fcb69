"""The wheel that users install; an editable installation would hide what it lacks."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("nd_deploy", "models", "plugins", "tests", "tools", "LICENSE", "README.md")
IMPORTS = """
import importlib, json, sys
import nd_deploy, nd_deploy.models, nd_deploy.plugins
from importlib.metadata import distribution
info = distribution("nd-deploy")
print(json.dumps({
    "files": [m.__file__ for m in (nd_deploy, nd_deploy.models, nd_deploy.plugins)],
    "names": nd_deploy.models.names(),
    "public": [callable(getattr(nd_deploy, name)) for name in nd_deploy.__all__],
    "command": [e.value for e in info.entry_points if e.name == "nd-deploy"],
    "torch": "torch" in sys.modules,
}))
"""


def run(*command, **options):
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def has_the_build_backend():
    try:
        version = importlib.metadata.version("setuptools")
    except importlib.metadata.PackageNotFoundError:
        return False
    return int(version.split(".")[0]) >= 77


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, since a build writes into its source folder."""
    source = tmp_path_factory.mktemp("source")
    shutil.copy(ROOT / "pyproject.toml", source)
    skipped = shutil.ignore_patterns("__pycache__", "*.npz", "mobilev2*")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, source / part, ignore=skipped)
        else:
            shutil.copy(ROOT / part, source)
    isolation = ["--no-isolation"] if has_the_build_backend() else []
    output = tmp_path_factory.mktemp("wheel")
    run("-m", "build", "--wheel", *isolation, "--outdir", output, source)
    (built,) = output.iterdir()
    return built


def test_the_wheel_holds_every_module_and_data_file_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = {name.split(".dist-info/")[1] for name in set(archive.namelist()) - packed}
    expected = {
        str(path.relative_to(ROOT))
        for kind in ("*.py", "py.typed", "*.schema.json", "static/*")
        for path in (ROOT / "nd_deploy").rglob(kind)
    }
    for mapped in ("models", "plugins"):
        expected |= {
            f"nd_deploy/{path.relative_to(ROOT)}" for path in (ROOT / mapped).rglob("*.py")
        }
    expected.add("nd_deploy/models/checkpoints/digits.pth.tar")
    # What `nd-deploy plugin build` compiles.
    for part in ("CMakeLists.txt", "cmake/*", "csrc/**/*"):
        sources = [path for path in (ROOT / "plugins").glob(part) if path.is_file()]
        assert sources
        expected |= {f"nd_deploy/{path.relative_to(ROOT)}" for path in sources}
    assert packed == expected
    assert {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"} <= metadata


def test_the_installed_package_imports_its_mapped_parts(wheel, tmp_path):
    site = tmp_path / "site"
    run("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", site, wheel)
    environment = os.environ | {"PYTHONPATH": str(site)}
    found = json.loads(run("-c", IMPORTS, cwd=tmp_path, env=environment))
    assert all(Path(file).is_relative_to(site) for file in found["files"])
    assert "digits" in found["names"]
    assert all(found["public"])
    assert found["command"] == ["nd_deploy.cli.main:main"]
    help_text = run("-m", "nd_deploy", "--help", cwd=tmp_path, env=environment)
    assert "convert" in help_text
