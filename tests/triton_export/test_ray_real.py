"""The application in a real Ray: it answers, loses a replica, and answers again."""

import json
import os
import secrets
import subprocess
import time
import urllib.request
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from free_ports import free_ports
from logged_process import LoggedProcess

import nd_deploy
from nd_deploy.rayserve.export import export_ray

PYTHON = "RAY_PYTHON"
SECONDS = 120

pytestmark = pytest.mark.skipif(
    PYTHON not in os.environ,
    reason=f"needs {PYTHON}, the Python of an environment with ray[serve] and what 'nd-deploy "
    "serve' needs; Ray listens on every address, so that it is best run in a network namespace",
)

SERVE = "from ray.serve.scripts import cli; cli()"
UNKNOWN = """
import json, sys
import yaml
from ray.serve.config import AutoscalingConfig
from ray.serve import schema

def unknown(fields, model):
    return sorted(set(fields) - set(model.model_fields))

document = yaml.safe_load(open(sys.argv[1]))
found = unknown(document, schema.ServeDeploySchema)
found += unknown(document["http_options"], schema.HTTPOptionsSchema)
for application in document["applications"]:
    found += unknown(application, schema.ServeApplicationSchema)
    for deployment in application["deployments"]:
        found += unknown(deployment, schema.DeploymentSchema)
        found += unknown(deployment["autoscaling_config"], AutoscalingConfig)
        found += unknown(deployment["ray_actor_options"], schema.RayActorOptionsSchema)
schema.ServeDeploySchema.model_validate(document)
print(json.dumps(found))
"""
# Every replica is an actor, whose name begins so.
REPLICAS = """
import json, sys
import ray

ray.init(address="auto", namespace="serve", log_to_driver=False)
names = [each["name"] for each in ray.util.list_named_actors(all_namespaces=True)]
replicas = [name for name in names if name.startswith("SERVE_REPLICA::")]
for name in replicas if "kill" in sys.argv else ():
    ray.kill(ray.get_actor(name, namespace="serve"), no_restart=True)
print(json.dumps(replicas))
"""


@pytest.fixture
def environment(tmp_path):
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(
            [
                str(Path(nd_deploy.__file__).parents[1]),
                *filter(None, [os.environ.get("PYTHONPATH")]),
            ]
        ),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture
def run(environment):
    def ran(script, *arguments):
        done = subprocess.run(
            [os.environ[PYTHON], "-c", script, *map(str, arguments)],
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=SECONDS,
        )
        return json.loads(done.stdout.splitlines()[-1])

    return ran


def ask(port, images):
    """The scores of images; whatever Ray says instead while it has no replica is an OSError."""
    image = {
        "name": "image",
        "shape": images.shape,
        "datatype": "FP32",
        "data": images.ravel().tolist(),
    }
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v2/models/tiny/infer",
        json.dumps({"inputs": [image]}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        (output,) = json.load(answer)["outputs"]
    return np.array(output["data"], np.float32).reshape(output["shape"])


def ask_until_answered(port, images):
    end = time.monotonic() + SECONDS
    while True:
        try:
            return ask(port, images)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def test_ray_knows_every_key(bundle, tmp_path, run):
    (path,) = export_ray(bundle, tmp_path / "app", replicas="1:2", cpus=1)
    # Ray itself takes unknown ones without a word.
    assert run(UNKNOWN, path) == []


def test_a_replica_that_is_killed_is_replaced(served_bundle, tmp_path, environment, run):
    bundle = served_bundle.path
    (port,) = free_ports(1)
    (path,) = export_ray(bundle, tmp_path / "app", replicas="1", cpus=1, port=port)
    images = np.random.default_rng(0).standard_normal((3, 1, 2, 2)).astype(np.float32)
    session = onnxruntime.InferenceSession(
        bundle / "model.onnx", providers=["CPUExecutionProvider"]
    )
    (expected,) = session.run(None, {"image": images})
    command = [os.environ[PYTHON], "-c", SERVE, "run", str(path)]
    with LoggedProcess(command, environment, "Submitted deploy config"):
        np.testing.assert_array_equal(ask_until_answered(port, images), expected)
        (killed,) = run(REPLICAS, "kill")
        np.testing.assert_array_equal(ask_until_answered(port, images), expected)
        assert killed not in run(REPLICAS)
