"""Converts networks, and verifies the bundles by every runtime that is installed."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import nd_deploy
from gpu.device import require_cuda
from gpu.parts import (
    FAILED,
    NOT_RUN,
    OK,
    WRONG,
    CannotRun,
    Row,
    Settings,
    attempt,
    require_any,
    require_right,
)
from gpu.runtimes import expected_to_refuse, options, unavailable
from nd_deploy import models
from nd_deploy.errors import MissingDependencyError, NdDeployError
from nd_deploy.nd.layers import ChannelDeconv, FastDeconv
from nd_deploy.runtime.options import ORT_TENSORRT, RUNTIMES

SAMPLES = 8
_CHECKPOINT = Path(__file__).resolve().parents[2] / "models/checkpoints/digits.pth.tar"


class DenseBlock(nn.Module):
    """What ends ImageNet's DenseNet-121: a concatenation, a ChannelDeconv, an activation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = FastDeconv(16, 16, 3, padding=1, block=16)
        self.norm5 = ChannelDeconv(16)
        self.classifier = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 16, H, W) to logits."""
        features = self.norm5(torch.cat([x, self.conv(x)], 1)).relu()
        return self.classifier(features.mean((2, 3)))  # type: ignore[no-any-return]


def run(settings: Settings) -> list[Row]:
    """One row a bundle and runtime."""
    require_cuda()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder, _missing_packages_are_no_failure():
        rows = [
            attempt({"bundle": name, "runtime": runtime}, partial(verify, path, runtime, settings))
            for name, path in convert_all(Path(folder))
            for runtime in RUNTIMES
        ]
    require_any(rows)
    require_right(rows, lambda row: f"{row['bundle']} on {row['runtime']}")
    return rows


@contextlib.contextmanager
def _missing_packages_are_no_failure() -> Iterator[None]:
    try:
        yield
    except MissingDependencyError as error:
        raise CannotRun(f"{error.problem}; {error.remedy}") from error


def convert_all(folder: Path) -> Iterator[tuple[str, Path]]:
    """The bundles: everything folds; a node for the plugin is left; the batch's statistics."""
    generator = torch.Generator().manual_seed(0)
    digits = torch.rand(SAMPLES, 1, 8, 8, generator=generator)
    yield "digits", _convert(_trained_digits(), digits, folder / "digits")
    block = DenseBlock().train()
    with torch.no_grad():
        for _ in range(5):
            block(torch.randn(16, 16, 14, 14, generator=generator) + 0.3)
    x = torch.randn(SAMPLES, 16, 14, 14, generator=generator)
    yield "dense block", _convert(block, x, folder / "dense", whitening="plugin")
    batch = {"statistics": "batch"}
    yield "digits by batch", _convert(_trained_digits(), digits, folder / "batch", **batch)


def verify(path: Path, runtime: str, settings: Settings) -> Row:
    """What the gates say of one bundle on one runtime."""
    missing = unavailable(runtime)
    if missing:
        return {"status": NOT_RUN, "reason": missing}
    # ONNX Runtime's TensorRT provider knows plugins in a domain of its own: here it runs bodies.
    plugin = runtime != ORT_TENSORRT
    try:
        report = nd_deploy.verify(
            path, runtime=runtime, options=options(runtime, plugin, settings, SAMPLES)
        ).report
    except NdDeployError as error:
        refused = expected_to_refuse(runtime)
        return {"status": NOT_RUN if refused else FAILED, "reason": error.problem}
    gate = report.gates[-1]
    reason = "" if report.passed else f"error {gate.error:.1e}, budget {gate.budget:.1e}"
    return {
        "status": OK if report.passed else WRONG,
        "reason": reason,
        "error": gate.error,
        "budget": gate.budget,
        "top1": report.top1_agreement,
    }


def _trained_digits() -> nn.Module:
    checkpoint = nd_deploy.read_checkpoint(_CHECKPOINT)
    options = models.options_from_state_dict("digits", checkpoint.state_dict)
    network = models.build("digits", **options)
    nd_deploy.load_into(network, checkpoint)
    return network.eval()


def _convert(network: nn.Module, x: Tensor, path: Path, **options: Any) -> Path:  # noqa: ANN401
    return Path(nd_deploy.convert(network.eval(), x, path, **options).path)
