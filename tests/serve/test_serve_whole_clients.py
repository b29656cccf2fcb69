"""Clients as they are published, against a whole server of a real bundle."""

import asyncio
import json
import queue
import shutil
import subprocess

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from served_bundle import images, write
from tritonclient.utils import InferenceServerException
from whole_server import PATIENCE, ServeProcess, check_close, expected, serving

LIBRARIES = {"http": tritonclient.http, "grpc": tritonclient.grpc}
X = images(5, seed=3)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write(tmp_path_factory.mktemp("whole") / "tiny")


@pytest.fixture(scope="module")
def server(bundle):
    with serving({"tiny": bundle}) as running:
        yield running


@pytest.fixture(scope="module", params=LIBRARIES)
def triton(request, server):
    """Triton's client, with the module it comes from as `library`."""
    library = LIBRARIES[request.param]
    client = library.InferenceServerClient(getattr(server, request.param))
    client.library, client.kind = library, request.param
    yield client
    client.close()


def input_of(triton, x=X, **how):
    given = triton.library.InferInput("image", list(x.shape), "FP32")
    given.set_data_from_numpy(x, **how)
    return [given]


def told(triton, method, *arguments):
    """What a method of the client gives, as JSON's values."""
    ask = getattr(triton, method)
    return ask(*arguments, as_json=True) if triton.kind == "grpc" else ask(*arguments)


def test_it_infers(triton, bundle):
    result = triton.infer("tiny", input_of(triton), request_id="mine")
    check_close(result.as_numpy("logits"), expected(bundle, X))
    response = result.get_response(as_json=True) if triton.kind == "grpc" else result.get_response()
    assert (response["id"], response["model_name"]) == ("mine", "tiny")


@pytest.mark.parametrize("binary_input", [True, False])
@pytest.mark.parametrize("binary_output", [True, False])
def test_it_infers_in_json_and_in_binary(server, bundle, binary_input, binary_output):
    library = tritonclient.http
    client = library.InferenceServerClient(server.http)
    client.library = library
    inputs = input_of(client, binary_data=binary_input)
    outputs = [library.InferRequestedOutput("logits", binary_data=binary_output)]
    result = client.infer("tiny", inputs, outputs=outputs, model_version="1")
    check_close(result.as_numpy("logits"), expected(bundle, X))
    client.close()


@pytest.mark.parametrize("binary", [True, False])
def test_it_gives_the_largest_scores_with_their_labels(triton, bundle, binary):
    how = {"binary_data": binary} if triton.kind == "http" else {}
    outputs = [triton.library.InferRequestedOutput("logits", class_count=2, **how)]
    found = triton.infer("tiny", input_of(triton), outputs=outputs).as_numpy("logits")
    scores = expected(bundle, X)
    labels = ("cat", "dog", "bird")
    for row, entries in zip(scores, found, strict=True):
        best = np.argsort(-row)[:2]
        for index, entry in zip(best, entries, strict=True):
            text = entry.decode() if isinstance(entry, bytes) else entry
            score, number, label = text.split(":")
            assert (int(number), label) == (index, labels[index])
            # Triton writes six places.
            assert float(score) == pytest.approx(row[index], abs=1e-6)


def test_it_answers_many_at_once(triton, bundle):
    wanted = [images(1 + n % 3, seed=n) for n in range(24)]
    if triton.kind == "http":
        pending = [triton.async_infer("tiny", input_of(triton, x)) for x in wanted]
        results = [each.get_result(timeout=PATIENCE) for each in pending]
    else:
        results = _by_callbacks(triton, wanted)
    for x, result in zip(wanted, results, strict=True):
        check_close(result.as_numpy("logits"), expected(bundle, x))


def _by_callbacks(triton, wanted):
    done = queue.Queue()
    for number, x in enumerate(wanted):
        triton.async_infer(
            "tiny",
            input_of(triton, x),
            lambda result, error, number=number: done.put((number, result, error)),
        )
    answers = sorted((done.get(timeout=PATIENCE) for _ in wanted), key=lambda each: each[0])
    assert [(number, error) for number, _, error in answers] == [
        (number, None) for number in range(len(wanted))
    ]
    return [result for _, result, _ in answers]


@pytest.mark.parametrize("kind", LIBRARIES)
def test_its_asyncio_client_infers_at_once(server, bundle, kind):
    aio = pytest.importorskip(f"tritonclient.{kind}.aio")
    wanted = [images(1 + number % 3, seed=number) for number in range(12)]

    async def ask():
        async with aio.InferenceServerClient(getattr(server, kind)) as client:
            client.library = LIBRARIES[kind]
            return await asyncio.gather(
                *(client.infer("tiny", input_of(client, x)) for x in wanted)
            )

    for x, result in zip(wanted, asyncio.run(ask()), strict=True):
        check_close(result.as_numpy("logits"), expected(bundle, x))


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_it_compresses(triton, bundle, algorithm):
    how = (
        {"request_compression_algorithm": algorithm, "response_compression_algorithm": algorithm}
        if triton.kind == "http"
        else {"compression_algorithm": algorithm}
    )
    x = np.repeat(X[:1], 32, axis=0)
    result = triton.infer("tiny", input_of(triton, x), **how)
    check_close(result.as_numpy("logits"), expected(bundle, x))


def test_a_timeout_of_a_request_is_kept_by_the_server(triton):
    with pytest.raises(InferenceServerException, match="time was over") as refused:
        triton.infer("tiny", input_of(triton), timeout=1)
    assert refused.value.status() in ("504", "StatusCode.DEADLINE_EXCEEDED")


def test_a_timeout_of_the_client_costs_no_other_request(server, bundle):
    library = tritonclient.grpc
    with library.InferenceServerClient(server.grpc) as client:
        client.library = library
        with pytest.raises(InferenceServerException) as late:
            # It has passed already: a server this quick meets a microsecond now and then.
            client.infer("tiny", input_of(client), client_timeout=-1.0)
        # The client says so, or the server, which is told of it.
        assert late.value.status() == "StatusCode.DEADLINE_EXCEEDED"
        result = client.infer("tiny", input_of(client), client_timeout=PATIENCE)
        check_close(result.as_numpy("logits"), expected(bundle, X))


def test_it_says_what_it_serves(triton):
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("tiny")
    assert triton.is_model_ready("tiny", "1")
    assert {"classification", "model_configuration", "statistics"} <= set(
        told(triton, "get_server_metadata")["extensions"]
    )
    metadata = told(triton, "get_model_metadata", "tiny")
    (given,), (output,) = metadata["inputs"], metadata["outputs"]
    assert (given["name"], given["datatype"]) == ("image", "FP32")
    assert [int(size) for size in given["shape"]] == [-1, 1, 2, 2]
    assert (output["name"], [int(size) for size in output["shape"]]) == ("logits", [-1, 3])


def test_it_gives_the_models_configuration(triton):
    found = told(triton, "get_model_config", "tiny")
    config = found.get("config", found)
    assert (config["name"], config["max_batch_size"]) == ("tiny", 32)
    assert config["input"][0]["data_type"] == "TYPE_FP32"
    assert [int(size) for size in config["input"][0]["dims"]] == [1, 2, 2]


def test_it_lists_its_models(triton):
    found = told(triton, "get_model_repository_index")
    models = found["models"] if isinstance(found, dict) else found
    assert [(each["name"], each["version"], each["state"]) for each in models] == [
        ("tiny", "1", "READY")
    ]


def test_its_statistics_count_what_was_asked(triton):
    def counts():
        (stats,) = told(triton, "get_inference_statistics", "tiny")["model_stats"]
        return int(stats["inference_count"]), int(stats["inference_stats"]["success"]["count"])

    # Protobuf's JSON has no zeros.
    triton.infer("tiny", input_of(triton))
    rows, requests = counts()
    for _ in range(3):
        triton.infer("tiny", input_of(triton))
    assert counts() == (rows + 15, requests + 3)
    (stats,) = told(triton, "get_inference_statistics")["model_stats"]
    assert int(stats["inference_count"]) == rows + 15


@pytest.mark.parametrize("name", ["other", "tiny/x"])
def test_it_says_that_there_is_no_such_model(triton, name):
    with pytest.raises(InferenceServerException) as refused:
        triton.infer(name, input_of(triton))
    assert refused.value.status() in ("404", "StatusCode.NOT_FOUND")


def curl(*arguments):
    """What curl prints."""
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    return subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", str(PATIENCE), *arguments],
        capture_output=True,
        check=True,
    ).stdout


def test_curl_asks_in_json(server, bundle):
    body = {"inputs": [{"name": "image", "datatype": "FP32", "shape": [5, 1, 2, 2]}]}
    body["inputs"][0]["data"] = X.tolist()
    url = f"http://{server.http}/v2/models/tiny/infer"
    (output,) = json.loads(curl(url, "--json", json.dumps(body)))["outputs"]
    found = np.array(output["data"], np.float32).reshape(output["shape"])
    check_close(found, expected(bundle, X))


def test_curl_sends_a_file_of_bytes(server, bundle, tmp_path):
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "image",
                    "datatype": "FP32",
                    "shape": [5, 1, 2, 2],
                    "parameters": {"binary_data_size": X.nbytes},
                }
            ],
            "outputs": [{"name": "logits", "parameters": {"binary_data": True}}],
        }
    ).encode()
    file = tmp_path / "request"
    file.write_bytes(head + X.astype("<f4").tobytes())
    answer = curl(
        f"http://{server.http}/v2/models/tiny/infer",
        "--header",
        f"Inference-Header-Content-Length: {len(head)}",
        "--data-binary",
        f"@{file}",
    )
    wanted = expected(bundle, X)
    check_close(np.frombuffer(answer[-wanted.nbytes :], "<f4").reshape(wanted.shape), wanted)


@pytest.mark.parametrize("how", ["--data-binary", "--form"])
def test_curl_sends_an_image(server, bundle, tmp_path, how):
    from PIL import Image

    pixels = np.array([[0, 51], [102, 255]], np.uint8)
    file = tmp_path / "image.png"
    Image.fromarray(pixels).save(file)
    given = f"@{file}" if how == "--data-binary" else f"image=@{file}"
    url = f"http://{server.http}/v1/models/tiny/classify?top_k=2"
    found = json.loads(curl(url, how, given))["predictions"]
    scores = expected(bundle, (pixels / np.float32(255)).reshape(1, 1, 2, 2))[0]
    best = np.argsort(-scores)[:2]
    assert [(each["index"], each["label"]) for each in found] == [
        (index, ("cat", "dog", "bird")[index]) for index in best
    ]


def test_the_process_that_a_user_starts_answers_both_clients(bundle):
    with ServeProcess(bundle, "--http-port", 0, "--grpc-port", 0) as process:
        for kind, address in zip(LIBRARIES, process.wait_until_ready(), strict=True):
            with LIBRARIES[kind].InferenceServerClient(address) as client:
                client.library = LIBRARIES[kind]
                found = client.infer("tiny", input_of(client)).as_numpy("logits")
                check_close(found, expected(bundle, X))
        assert process.end() == 0
