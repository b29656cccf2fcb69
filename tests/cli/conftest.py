import sys

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_bundle import decisions, model, parity

from nd_deploy.bundle import write_bundle
from nd_deploy.cli.main import main
from nd_deploy.preprocess import Preprocessing


@pytest.fixture
def make_bundle(tmp_path):
    """Write a bundle of a tiny model, with whatever is to differ."""

    def make(name="out", **changes):
        arguments = {
            "model": model(),
            "network": "tiny",
            "decisions": decisions(),
            "warnings": ["layers.0: untrained"],
            "parity": parity(),
            "reference": {"input/image": np.zeros((4, 1, 2, 2), np.float32)},
            "preprocessing": Preprocessing("L", (2, 2)),
            "labels": ("cat", "dog", "[red]"),
        }
        return write_bundle(tmp_path / name, **(arguments | changes))

    return make


@pytest.fixture
def bundle(make_bundle):
    return make_bundle().path


@pytest.fixture
def invoke():
    """Run a command in this process."""

    def run(*arguments, code=0):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def users_module(tmp_path, monkeypatch):
    """Write a module into the current folder, as a user has one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    before = set(sys.modules)

    def write(text, name="users_net"):
        (tmp_path / f"{name}.py").write_text(text)
        return name

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("users_net"):
            del sys.modules[name]
