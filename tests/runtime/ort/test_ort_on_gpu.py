"""On a GPU: what no stand-in can show. References are numpy's, in float64."""

import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
from onnx import numpy_helper, parser

from nd_deploy.doctor import children
from nd_deploy.errors import BackendError
from nd_deploy.runtime.choose import open_runner
from nd_deploy.runtime.options import RunOptions

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"

pytestmark = pytest.mark.gpu

# A convolution as a product, with shapes that are computed as the model runs.
MODEL = """
<ir_version: 10, opset_import: ["": 20]>
network (float[batch, 64] x) => (float[batch, 32] y)
{
    [product] p = MatMul (x, w)
    [size] s = Shape <start: int = 0, end: int = 1> (x)
    [columns] c = Constant <value_ints: ints = [32]> ()
    [shape] q = Concat <axis: int = 0> (s, c)
    [reshape] r = Reshape (p, q)
    [relu] y = Relu (r)
}
"""


def usable(provider):
    """Whether a session on a provider works here; asked in a process that may crash."""
    if provider not in onnxruntime.get_available_providers():
        return f"this ONNX Runtime has no {provider}"
    return children.ask("onnxruntime", provider).get("run", "the process that tried it crashed")


@pytest.fixture(scope="module")
def cuda():
    reason = usable(CUDA)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def tensorrt():
    reason = usable(TENSORRT)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def weight():
    return np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def model(weight):
    proto = parser.parse_model(MODEL)
    proto.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    return proto


def inputs(rows, seed=1):
    return np.random.default_rng(seed).normal(size=(rows, 64)).astype(np.float32)


def expected(x, weight):
    return np.maximum(x.astype(np.float64) @ weight.astype(np.float64), 0)


def error(actual, truth):
    return np.abs(actual - truth).max() / np.abs(truth).max()


@pytest.mark.usefixtures("cuda")
class TestCuda:
    def test_it_computes_in_float32_unless_tf32_is_asked_for(self, model, weight):
        x = inputs(256)
        exact = open_runner(model, "ort-cuda")
        assert error(exact.run({"x": x})["y"], expected(x, weight)) < 1e-6
        assert exact.receipt.tf32 is False
        rough = open_runner(model, "ort-cuda", RunOptions(tf32=True))
        assert error(rough.run({"x": x})["y"], expected(x, weight)) < 1e-2
        assert rough.receipt.tf32 is True

    def test_every_value_is_computed_on_the_gpu(self, model):
        receipt = open_runner(model, "ort-cuda").receipt
        assert receipt.providers_got[0] == CUDA
        assert receipt.placement[CUDA] >= 3

    @pytest.mark.parametrize("cuda_graph", [False, True])
    def test_other_arrays_and_other_shapes_give_their_own_results(self, model, weight, cuda_graph):
        runner = open_runner(model, "ort-cuda", RunOptions(cuda_graph=cuda_graph))
        for rows, seed in ((4, 1), (4, 2), (8, 3), (4, 4), (8, 5)):
            x = inputs(rows, seed)
            assert error(runner.run({"x": x})["y"], expected(x, weight)) < 1e-6

    def test_prepared_runs_keep_their_addresses(self, model, weight):
        runner = open_runner(model, "ort-cuda", RunOptions(cuda_graph=True))
        x = inputs(4)
        prepared = runner.prepare({"x": x})
        before = prepared.addresses()
        for _ in range(3):
            prepared.run()
        assert prepared.addresses() == before
        assert error(prepared.fetch()["y"], expected(x, weight)) < 1e-6

    def test_memory_can_be_limited(self, model):
        options = RunOptions({"gpu_mem_limit": "1MiB"})
        runner = open_runner(model, "ort-cuda", options)
        with pytest.raises(BackendError):
            runner.run({"x": inputs(1_000_000)})


TENSORRT_RUN = """
import json, sys
import numpy as np, onnx
from nd_deploy.errors import NdDeployError
from nd_deploy.runtime.choose import open_runner
from nd_deploy.runtime.options import RunOptions
folder, options = sys.argv[1], json.loads(sys.argv[2])
try:
    runner = open_runner(onnx.load(f"{folder}/model.onnx"), "ort-tensorrt", RunOptions(**options))
    with np.load(f"{folder}/x.npz") as arrays:
        y = [runner.run({"x": arrays[name]})["y"] for name in sorted(arrays)]
except NdDeployError as error:
    print(json.dumps({"error": error.problem}))
else:
    np.savez(f"{folder}/y.npz", *y)
    print(json.dumps({"placement": dict(runner.receipt.placement), "tf32": runner.receipt.tf32}))
"""


@pytest.mark.usefixtures("tensorrt")
@pytest.mark.tensorrt
class TestTensorRT:
    """Each session in a process of its own, since the first one of a process decides for all."""

    @pytest.fixture
    def run(self, model, tmp_path, monkeypatch):
        import json

        import onnx

        onnx.save(model, tmp_path / "model.onnx")
        monkeypatch.setenv("ND_DEPLOY_CACHE", str(tmp_path / "cache"))

        def run(*arrays, **options):
            np.savez(tmp_path / "x.npz", *arrays)
            command = [sys.executable, "-c", TENSORRT_RUN, str(tmp_path), json.dumps(options)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr
            told = json.loads(done.stdout.splitlines()[-1])
            if "error" in told:
                return told, []
            with np.load(tmp_path / "y.npz") as results:
                return told, [results[name] for name in sorted(results)]

        return run

    @pytest.mark.parametrize(("tf32", "most"), [(False, 1e-6), (True, 1e-2)])
    def test_it_computes_as_exactly_as_asked(self, run, weight, tf32, most):
        x = inputs(32)
        told, (y,) = run(x, batch="1:8:32", tf32=tf32)
        assert error(y, expected(x, weight)) < most
        assert told["tf32"] is tf32
        assert told["placement"][TENSORRT] >= 3

    def test_engines_are_kept_and_used_again(self, run, weight, tmp_path):
        x = inputs(8)
        kept = []
        for _ in range(2):
            _, (y,) = run(x, batch="1:8:32")
            assert error(y, expected(x, weight)) < 1e-6
            kept.append({(p.name, p.stat().st_mtime_ns) for p in tmp_path.rglob("*.engine")})
        assert kept[0]
        assert kept[0] == kept[1]

    def test_a_cuda_graph_replays_on_new_arrays(self, run, weight):
        arrays = [inputs(8, seed) for seed in range(3)]
        _, results = run(*arrays, batch="8", cuda_graph=True)
        for x, y in zip(arrays, results, strict=True):
            assert error(y, expected(x, weight)) < 1e-6

    def test_a_cuda_graph_for_one_shape_is_not_replayed_for_another(self, run):
        told, _ = run(inputs(8), inputs(4), batch="1:8:8", cuda_graph=True)
        assert "captures one CUDA graph a session" in told["error"]
