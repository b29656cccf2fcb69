"""The parts that compute, run from end to end on kernels that are built for the CPU.

What they say of speed means nothing here; that they come to an end, with every figure that tables
and verdicts are made of, does.
"""

from types import SimpleNamespace

import pytest
import torch
from gpu import part_dynamic, part_errors, part_frozen
from gpu.cases import FastDeconvCase, FrozenCase
from gpu.clock import host_seconds, in_turn
from gpu.error_cases import SMALL
from gpu.page import page
from gpu.parts import Part, PartFailed, Settings
from gpu.report import make
from gpu.verdicts import MISSED, ON_QUICK, OPEN, judge
from made_up import MACHINE

CPU = torch.device("cpu")


@pytest.fixture
def cpu_as_gpu(library, monkeypatch):
    for part in (part_errors, part_frozen, part_dynamic):
        monkeypatch.setattr(part, "require_cuda", lambda: torch)
        monkeypatch.setattr(part, "require_library", lambda settings: library)
        monkeypatch.setattr(part, "the_gpu", lambda module: CPU)
    for part in (part_frozen, part_dynamic):
        monkeypatch.setattr(part, "recorded", lambda module, calls: in_turn(calls))
        monkeypatch.setattr(part, "gpu_seconds", lambda module: host_seconds)
        monkeypatch.setattr(part, "ROUNDS", 3)
    device = SimpleNamespace(L2_cache_size=1 << 10)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: device)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(part_frozen, "_COPY_BYTES", 1 << 16)


@pytest.fixture
def small(monkeypatch):
    case = next(layer for layer in SMALL.layers if layer.name == "1x1")
    layers = [FastDeconvCase(case.name, 2, case.eps, case.shape)]
    for part in (part_errors, part_dynamic):
        monkeypatch.setattr(part, "resnet18_layers", lambda: layers)
    cases = [FrozenCase(256, 2, 1, "float32"), FrozenCase(64, 3, 2, "float16")]
    monkeypatch.setattr(part_frozen, "frozen_cases", lambda quick: cases)
    for name in ("FROZEN", "DYNAMIC", "LAYERS"):
        monkeypatch.setattr(part_errors, name, ())
    monkeypatch.setattr(part_dynamic, "STAGES", ((64, 2),))
    monkeypatch.setattr(part_dynamic, "DYNAMIC_BATCHES", (2,))


@pytest.mark.usefixtures("cpu_as_gpu", "small")
def test_parts_end_with_all_that_tables_and_verdicts_need():
    settings = Settings(quick=True)
    parts = [
        Part(name, "ran", rows=module.run(settings), quick=True)
        for name, module in (
            ("errors", part_errors),
            ("frozen", part_frozen),
            ("dynamic", part_dynamic),
        )
    ]
    errors, frozen, dynamic = (part.rows for part in parts)
    assert len(errors) == 3 * 2
    assert [row["what"] for row in frozen] == ["copy", "whitening", "whitening", "copy"]
    assert [row["op"] for row in dynamic] == ["FastDeconv", "ChannelDeconv"] * 2
    statuses = [verdict.status for verdict in judge(parts)]
    # None of the shapes is 56x56 at batch 32, and none takes five microseconds on paper.
    assert [statuses[index] for index in (0, 1, 4, 5)] == [OPEN] * 4
    assert {statuses[index] for index in (2, 3, 6)} <= {MISSED, ON_QUICK}
    text = page(make(parts, "", MACHINE))
    for title in ("Errors against PyTorch", "The frozen ChannelDeconv", "Layers that whiten"):
        assert f"\n## {title}" in text
    assert "| 1x1 | 2 | 2 | float32 |" in text


@pytest.mark.usefixtures("cpu_as_gpu", "small")
def test_a_case_that_fails_leaves_the_others_standing(library, monkeypatch):
    def fail(*_):
        raise RuntimeError("an illegal memory access")

    monkeypatch.setattr(library, "channel_deconv_dynamic", fail)
    with pytest.raises(PartFailed, match=r"2 of 4 .* illegal memory access") as caught:
        part_dynamic.run(Settings(quick=True))
    assert ["status" in row for row in caught.value.rows] == [False, True, False, True]
    assert judge([Part("dynamic", "failed", rows=caught.value.rows)])[3].covered == 2
