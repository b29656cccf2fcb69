"""perf_analyzer as NVIDIA built it, against a whole server.

The last wheel that carries it is tritonclient 2.49.0 (in data/bin); it needs libcudart.so.12, which
nvidia-cuda-runtime-cu12 has, and libb64, in LD_LIBRARY_PATH.
"""

import csv
import os
import subprocess

import pytest
from served_bundle import write
from whole_server import PATIENCE, serving

BINARY = "ND_DEPLOY_PERF_ANALYZER"
pytestmark = pytest.mark.skipif(
    BINARY not in os.environ,
    reason=f"needs {BINARY}, a perf_analyzer that runs here",
)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("batch", [1, 8])
def test_it_measures_without_an_error(tmp_path, protocol, batch):
    table = tmp_path / "table.csv"
    with serving({"tiny": write(tmp_path / "tiny")}) as running:
        done = subprocess.run(
            [
                os.environ[BINARY],
                *("-m", "tiny", "-u", getattr(running, protocol), "-i", protocol),
                *("-b", str(batch), "--concurrency-range", "4", "--input-data", "zero"),
                *("--measurement-interval", "500", "-s", "90", "-f", str(table)),
            ],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = csv.DictReader(table.read_text().splitlines())
    assert row["Concurrency"] == "4"
    assert float(row["Inferences/Second"]) > 0
    # It read the server's statistics as well.
    assert float(row["Server Compute Infer"]) > 0
