"""KServe's clients against a whole server. They cannot share a process with Triton's."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from served_bundle import images, write
from whole_server import PATIENCE, check_close, expected, serving

PYTHON = "ND_DEPLOY_KSERVE_PYTHON"
pytestmark = pytest.mark.skipif(
    PYTHON not in os.environ,
    reason=f"needs {PYTHON}, the Python of an environment with kserve",
)

SCRIPT = Path(__file__).with_name("kserve_clients.py")


def test_its_clients_infer_over_rest_and_grpc(tmp_path):
    bundle = write(tmp_path / "tiny")
    x = images(3)
    with serving({"tiny": bundle}) as running:
        done = subprocess.run(
            [os.environ[PYTHON], SCRIPT, running.http, running.grpc, "tiny", "image"],
            input=json.dumps(x.tolist()),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [found[word] for word in ("live", "ready", "model ready")] == [[True, True]] * 3
    assert len(found["outputs"]) == 3
    for output in found["outputs"]:
        assert (output["model"], output["name"]) == ("tiny", "logits")
        check_close(np.array(output["values"], np.float32), expected(bundle, x))
