"""A small part of tools/conformance.py, which converts every network there is."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[1] / "tools"


@pytest.fixture
def conformance(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    before = set(sys.modules)
    import conformance

    monkeypatch.setattr(conformance, "STEPS", 1)
    monkeypatch.setattr(conformance, "SMALL_STEPS", 50)
    yield conformance
    # Others' tests hold classes of the tools that they have imported.
    for name in set(sys.modules) - before:
        if str(TOOLS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("name", ["mlp", "efficientnet_b0"])
def test_a_network_trained_on_photographs_converts_with_each_of_its_heads(conformance, name):
    rows = list(conformance.examine(name))
    assert [row.head for row in rows] == conformance.heads(name)
    for row in rows:
        # The peak is that of a process in which other tests ran too.
        assert replace(row, peak_bytes=0).shortfalls() == []
        assert row.top1 == 1
        assert sum(row.actions.values()) == row.nd_layers


def test_a_row_says_what_does_not_hold(conformance):
    (row,) = conformance.examine("digits")
    spoilt = replace(row, fold=1e-9, storage=3 * row.torch, lowered=["x"], peak_bytes=5 * 10**9)
    assert spoilt.shortfalls() == [
        "fold gate 1.0e-09",
        "storage gate at 3.00 of PyTorch's error",
        "not folded: x",
        "peak memory 5.0 GB",
    ]
