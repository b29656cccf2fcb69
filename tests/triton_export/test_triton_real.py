"""What a real Triton says to the repositories, and answers from them."""

import asyncio
import hashlib
import json
import re
import shutil
import urllib.error
import urllib.request

import numpy as np
import onnxruntime
import pytest
from broken_configs import REFUSED_BY_THE_CORE, REFUSED_LATER
from own_server import answers
from real_triton import Triton, unpack, why_absent, why_it_runs_no_python, wrap
from tiny_bundle import model
from triton_models import OPEN_SIZES, TWO_INPUTS, parsed

from nd_deploy.runtime.tensorrt.kept.engine_file import write_engine
from nd_deploy.runtime.tensorrt.kept.engine_key import EngineKey
from nd_deploy.serve.application import make_asgi
from nd_deploy.serve.settings import Settings
from nd_deploy.triton import server
from nd_deploy.triton.config import Hosting
from nd_deploy.triton.description import describe_for_triton
from nd_deploy.triton.export import export_triton

REASON = why_absent()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))
NO_PYTHON = why_it_runs_no_python()

# What Triton says of a configuration that it accepts, where it lacks the backend.
ACCEPTED = "unable to find backend library for backend '{}'"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    return unpack(tmp_path_factory.mktemp("triton"))


def flags(bundle, *repositories):
    """Those that are generated, but for one that this old version does not have."""
    spec = describe_for_triton("m", bundle.manifest, None)
    hosting = Hosting(samples={"image": (1, 2, 2)})
    generated = server.flags(spec, hosting, "REPOSITORY", 1, 2, "secret")
    kept = [flag for flag in generated[1:] if "REPOSITORY" not in flag and "-port=" not in flag]
    assert sum("--http-max-input-size" in flag for flag in kept) == 1
    kept = [flag for flag in kept if "--http-max-input-size" not in flag]
    return [*kept, *(f"--model-repository={repository}" for repository in repositories)]


def ask(triton, path, body=None, headers=None):
    request = urllib.request.Request(
        f"http://127.0.0.1:{triton.http}/v2/{path}", body, headers or {}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_the_core_accepts_every_configuration(make_bundle, tmp_path, unpacked):
    bundle = make_bundle()
    backends = {"cpu": "onnxruntime", "cuda": "onnxruntime", "tensorrt": "onnxruntime"}
    for accelerator in backends:
        output = tmp_path / f"{accelerator}-repo"
        export_triton(
            bundle.path,
            output,
            accelerator=accelerator,
            name=accelerator,
            compose=True,
            kserve=True,
        )
    key = EngineKey(
        model_sha256=hashlib.sha256(bundle.model_path.read_bytes()).hexdigest(),
        library="tensorrt",
        version="10.14.1",
        device="NVIDIA H100",
        compute_capability="9.0",
        precision="float32",
        tf32=False,
        profiles="image=1x1x2x2:4x1x2x2:16x1x2x2",
    )
    engine = write_engine(tmp_path / "net.engine", b"a plan", key, {}).plan_path
    export_triton(
        bundle.path,
        tmp_path / "plan-repo",
        accelerator="plan",
        name="plan",
        engine=engine,
        tensorrt="10.14.1",
    )
    backends["plan"] = "tensorrt"
    for name, proto in (
        ("fixed", model(batch="4")),
        ("two_inputs", parsed(TWO_INPUTS)),
        ("open_sizes", parsed(OPEN_SIZES)),
    ):
        other = make_bundle(name, model=proto, labels=None, reference={})
        export_triton(other.path, tmp_path / f"{name}-repo")
        backends[name] = "onnxruntime"
    repositories = sorted(tmp_path.glob("*-repo"))
    with Triton(unpacked, flags(bundle, *repositories)) as triton:
        key = {"admin-key": "secret"}
        models = {each["name"]: each for each in ask(triton, "repository/index", b"{}", key)}
    for name, backend in backends.items():
        assert ACCEPTED.format(backend) in models[name]["reason"]
    assert set(models) == set(backends)


def test_the_core_refuses_what_the_check_finds(make_bundle, tmp_path, unpacked):
    bundle = make_bundle()
    export_triton(bundle.path, tmp_path / "one", accelerator="tensorrt")
    broken = [*REFUSED_BY_THE_CORE, *REFUSED_LATER]
    for number, (old, new, _) in enumerate(broken):
        folder = tmp_path / f"repo/m{number}"
        shutil.copytree(tmp_path / "one/tiny", folder)
        text = (folder / "config.pbtxt").read_text().replace("tiny", folder.name)
        old = old.replace("tiny", folder.name)
        assert old in text
        (folder / "config.pbtxt").write_text(text.replace(old, new))
    with Triton(unpacked, flags(bundle, tmp_path / "repo")) as triton:
        log = "".join(triton.lines)
    refused = set(map(int, re.findall(r"Poll failed for model directory 'm(\d+)'", log)))
    assert refused == set(range(len(REFUSED_BY_THE_CORE)))


@pytest.mark.skipif(NO_PYTHON is not None, reason=str(NO_PYTHON))
def test_it_answers_what_onnx_runtime_answers(make_bundle, tmp_path, unpacked):
    client_of = pytest.importorskip("tritonclient.http", reason="needs tritonclient[http]")
    bundle = make_bundle()
    export_triton(bundle.path, tmp_path / "repo", name="m")
    wrap(tmp_path / "repo/m")
    images = np.random.default_rng(0).standard_normal((5, 1, 2, 2)).astype(np.float32)
    session = onnxruntime.InferenceSession(bundle.model_path, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"image": images})
    with Triton(unpacked, flags(bundle, tmp_path / "repo")) as triton:
        client = client_of.InferenceServerClient(f"127.0.0.1:{triton.http}")
        assert client.is_server_ready(), "".join(triton.lines)
        # 1 and 32 were run before it was ready.
        assert metric(triton, "nv_inference_count") == 33
        image = client_of.InferInput("image", images.shape, "FP32")
        image.set_data_from_numpy(images)
        for binary in (True, False):
            wanted = client_of.InferRequestedOutput("logits", binary_data=binary)
            answer = client.infer("m", [image], outputs=[wanted]).as_numpy("logits")
            # JSON has the shortest text that gives the float again.
            np.testing.assert_array_equal(answer, expected)
        wanted = client_of.InferRequestedOutput("logits", class_count=1)
        classes = client.infer("m", [image], outputs=[wanted]).as_numpy("logits")
        labels = [text.decode().split(":")[2] for text in classes[:, 0]]
        assert labels == [bundle.manifest.labels[index] for index in expected.argmax(1)]
        with pytest.raises(urllib.error.HTTPError, match="403"):
            ask(triton, "trace/setting", b"{}")
        assert ask(triton, "trace/setting", b"{}", {"admin-key": "secret"})
        client.close()


@pytest.mark.skipif(NO_PYTHON is not None, reason=str(NO_PYTHON))
def test_the_server_of_our_own_answers_the_same(served_bundle, tmp_path, unpacked):
    export_triton(served_bundle.path, tmp_path / "repo", name="tiny")
    wrap(tmp_path / "repo/tiny")
    bodies = [body(), body(parameters={"classification": 2}), body(id="7", batch=3)]
    app = make_asgi([served_bundle.path], Settings(page=False))
    own = asyncio.run(answers(app, "/v2/models/tiny/infer", bodies))
    with Triton(unpacked, flags(served_bundle, tmp_path / "repo")) as triton:
        path = "models/tiny/infer"
        theirs = [ask(triton, path, json.dumps(each).encode()) for each in bodies]
    assert list(map(in_float32, own)) == list(map(in_float32, theirs))


def in_float32(answer):
    """An answer with its floats as they were: Triton writes them out as doubles."""
    for output in answer["outputs"]:
        if output["datatype"] == "FP32":
            output["data"] = np.array(output["data"], np.float32).tolist()
    return answer


def body(batch=1, parameters=None, **more):
    values = np.linspace(-1, 1, batch * 4, dtype=np.float32).tolist()
    image = {"name": "image", "shape": [batch, 1, 2, 2], "datatype": "FP32", "data": values}
    output = {"name": "logits"} | ({"parameters": parameters} if parameters else {})
    return {"inputs": [image], "outputs": [output], **more}


def metric(triton, name):
    url = f"http://127.0.0.1:{triton.metrics}/metrics"
    with urllib.request.urlopen(url, timeout=30) as answer:
        text = answer.read().decode()
    return float(re.search(rf"^{name}{{.*}} (\S+)$", text, re.MULTILINE)[1])
