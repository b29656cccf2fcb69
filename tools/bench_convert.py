"""What converting a network costs over torch.onnx.export of it: seconds, and memory.

Each measurement is a fresh process. The baseline exports the network to a file as it is; the other
converts it to a bundle, parity gates and all. Printed are the seconds of both, the seconds of the
conversion outside the exporter's call that it makes itself, and the difference of the two peak
resident sets beside the size of the network; the best of a few processes.

    python tools/bench_convert.py vgg16 resnet50
"""

from __future__ import annotations

import importlib
import json
import logging
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

ROUNDS = 3


def main(names: list[str]) -> None:
    """Print one line a network."""
    columns = (
        "network",
        "export, s",
        "convert, s",
        "outside the exporter, s",
        "parameters, MB",
        "with buffers, MB",
        "memory added, MB",
    )
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name in names or ["vgg16", "resnet50"]:
        runs = [(measure("export", name), measure("convert", name)) for _ in range(ROUNDS)]
        export = min(exported["total_s"] for exported, _ in runs)
        converted = min((run[1] for run in runs), key=lambda run: run["total_s"])
        added = min(c["peak_mb"] for _, c in runs) - min(e["peak_mb"] for e, _ in runs)
        cells = (
            name,
            f"{export:.2f}",
            f"{converted['total_s']:.2f}",
            f"{converted['total_s'] - converted['exporter_s']:.2f}",
            f"{converted['parameters_mb']:.1f}",
            f"{converted['state_mb']:.1f}",
            f"{added:.1f}",
        )
        print(f"| {' | '.join(cells)} |", flush=True)


def measure(what: str, name: str) -> dict[str, float]:
    """Run one measurement in a process of its own."""
    command = [sys.executable, __file__, f"--{what}", name]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def run_one(what: str, name: str) -> None:
    """Measure inside the process, and print the result as JSON."""
    import torch

    import nd_deploy
    from nd_deploy import models

    # Before the clock starts: a process pays for imports once, whatever it converts.
    importlib.import_module("nd_deploy.conversion")
    importlib.import_module("onnxruntime")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    network = settled(models.build(name))
    x = torch.randn(4, *models.describe(name).input_shape)
    exporter, spent = torch.onnx.export, [0.0]

    def timed(*arguments: object, **options: object) -> object:
        start = time.perf_counter()
        try:
            return exporter(*arguments, **options)
        finally:
            spent[0] += time.perf_counter() - start

    torch.onnx.export = timed
    # The exporter's first call in a process compiles its tables, for 2 s or more.
    tiny = torch.nn.Linear(2, 2)
    exporter(tiny, (torch.zeros(2, 2),), dynamo=True, verbose=False)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        if what == "export":
            torch.onnx.export(
                network,
                (x,),
                f"{folder}/model.onnx",
                dynamo=True,
                dynamic_shapes=({0: "batch"},),
                verbose=False,
            )
        else:
            nd_deploy.convert(network, x, Path(folder) / "bundle")
        total = time.perf_counter() - start
    print(
        json.dumps(
            {
                "total_s": total,
                "exporter_s": spent[0],
                "parameters_mb": megabytes(network.parameters()),
                "state_mb": megabytes(network.state_dict().values()),
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
            }
        )
    )


def megabytes(tensors: Iterable[torch.Tensor]) -> float:
    """The size of some tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 1e6


def settled(network: object) -> object:
    """The network with statistics as training leaves them, in eval mode.

    Untrained ones are special: D is the identity, and batch normalisation folds into a bias of
    zeros, which exporters drop.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    for name, buffer in network.named_buffers():
        if not buffer.is_floating_point():
            continue
        noise = 0.01 * torch.randn(buffer.shape, generator=generator)
        symmetric = name.endswith("running_deconv")
        buffer += noise + noise.transpose(-1, -2) if symmetric else noise
    return network.eval()


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1].startswith("--"):
        run_one(sys.argv[1][2:], sys.argv[2])
    else:
        main(sys.argv[1:])
