"""Every method, asked by Triton's own client over a real port."""

import numpy as np
import pytest
import tritonclient.grpc as triton
from rpc_stand_ins import EchoService, model, serving

import nd_deploy
from nd_deploy.serve.exchange import ModelSpec, ModelState, TensorSpec

LABELS = ("ant", "bee", "cat")


@pytest.fixture(scope="module")
def service():
    pair = ModelSpec(
        "pair",
        "1",
        (TensorSpec("a", "FP32", (-1, 2)), TensorSpec("b", "INT64", (-1,))),
        (TensorSpec("y", "FP32", (-1, 2)),),
        max_batch=8,
        batching=True,
    )
    return EchoService(model("echo"), model("animals", labels=LABELS), pair)


@pytest.fixture(scope="module")
def client(service):
    with serving(service) as address, triton.InferenceServerClient(address) as client:
        yield client


def values(*numbers):
    array = np.array(numbers, np.float32).reshape(1, -1)
    tensor = triton.InferInput("x", array.shape, "FP32")
    tensor.set_data_from_numpy(array)
    return [tensor]


def test_the_server_lives(client):
    assert client.is_server_live()


def test_the_server_is_ready_when_the_service_is(client, service):
    assert client.is_server_ready()
    service.ready = False
    try:
        assert not client.is_server_ready()
        assert client.is_server_live()
    finally:
        service.ready = True


def test_server_metadata_names_program_version_and_extensions(client):
    metadata = client.get_server_metadata()

    assert (metadata.name, metadata.version) == ("nd-deploy", nd_deploy.__version__)
    assert {"statistics", "model_configuration"} <= set(metadata.extensions)


@pytest.mark.parametrize(
    ("name", "version", "ready"),
    [("echo", "", True), ("echo", "1", True), ("echo", "2", False), ("nobody", "", False)],
)
def test_a_model_is_ready_if_it_is_there(client, name, version, ready):
    assert client.is_model_ready(name, version) is ready


def test_a_model_that_loads_is_not_ready(client, service):
    service.states = [ModelState("late", "1", "LOADING")]
    try:
        assert client.is_model_ready("late") is False
    finally:
        service.states = []


def test_model_metadata_describes_the_tensors_with_their_batch(client):
    metadata = client.get_model_metadata("pair", as_json=True)

    assert metadata == {
        "name": "pair",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "a", "datatype": "FP32", "shape": ["-1", "2"]},
            {"name": "b", "datatype": "INT64", "shape": ["-1"]},
        ],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": ["-1", "2"]}],
    }


def test_model_config_is_one_that_tritons_client_reads(client):
    config = client.get_model_config("pair").config

    assert (config.name, config.max_batch_size) == ("pair", 8)
    assert (config.input[0].name, list(config.input[0].dims)) == ("a", [2])
    assert config.input[0].data_type == triton.model_config_pb2.TYPE_FP32
    assert config.HasField("dynamic_batching")


def test_statistics_are_the_services(client):
    [echo] = client.get_inference_statistics("echo").model_stats

    assert (echo.name, echo.version, echo.inference_count) == ("echo", "1", 7)
    assert (echo.inference_stats.success.count, echo.inference_stats.success.ns) == (6, 2**40)
    assert echo.batch_stats[0].compute_infer.count == 5


def test_statistics_without_a_name_are_those_of_all_models(client):
    everything = client.get_inference_statistics().model_stats

    assert [entry.name for entry in everything] == ["animals", "echo", "pair"]


def test_statistics_of_an_unknown_version_are_refused(client):
    with pytest.raises(triton.InferenceServerException, match="no model 'echo' 3"):
        client.get_inference_statistics("echo", "3")


def test_the_index_lists_models_and_why_some_are_not_ready(client, service):
    service.states = [ModelState("bad", "2", "UNAVAILABLE", "a hash is wrong")]
    try:
        listed = client.get_model_repository_index().models
    finally:
        service.states = []

    assert [entry.name for entry in listed] == ["animals", "bad", "echo", "pair"]
    bad = listed[1]
    assert (bad.version, bad.state, bad.reason) == ("2", "UNAVAILABLE", "a hash is wrong")


def test_a_request_is_run_and_answered_as_raw_contents(client):
    result = client.infer("echo", values(1, 2, 3), request_id="r1")

    np.testing.assert_array_equal(result.as_numpy("y"), [[1, 2, 3]])
    response = result.get_response()
    assert (response.model_name, response.model_version, response.id) == ("echo", "1", "r1")
    assert not response.outputs[0].HasField("contents")


def test_a_request_without_an_id_is_answered_without_one(client, service):
    assert client.infer("echo", values(1, 2, 3)).get_response().id == ""
    assert service.requests[-1].id is None


def test_the_version_that_is_asked_for_reaches_the_service(client, service):
    client.infer("echo", values(1, 2, 3), model_version="1")
    assert service.requests[-1].version == "1"
    client.infer("echo", values(1, 2, 3))
    assert service.requests[-1].version is None


def test_several_inputs_are_told_apart_by_their_names(client, service):
    a = np.array([[1, 2], [3, 4]], np.float32)
    b = np.array([5, 6])
    first, second = triton.InferInput("b", [2], "INT64"), triton.InferInput("a", [2, 2], "FP32")
    first.set_data_from_numpy(b)
    second.set_data_from_numpy(a)

    client.infer("pair", [first, second])

    np.testing.assert_array_equal(service.requests[-1].inputs["a"], a)
    np.testing.assert_array_equal(service.requests[-1].inputs["b"], b)


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_a_compressed_request_is_unpacked(client, compression):
    result = client.infer("echo", values(0, 0, 7), compression_algorithm=compression)

    np.testing.assert_array_equal(result.as_numpy("y"), [[0, 0, 7]])


def test_classes_are_given_with_value_index_and_label(client):
    wanted = [triton.InferRequestedOutput("y", class_count=2)]

    result = client.infer("animals", values(0.25, 4, -1), outputs=wanted).as_numpy("y")

    assert result.tolist() == [[b"4.000000:1:bee", b"0.250000:0:ant"]]


def test_a_named_output_is_given(client):
    result = client.infer("echo", values(1, 2, 3), outputs=[triton.InferRequestedOutput("y")])

    np.testing.assert_array_equal(result.as_numpy("y"), [[1, 2, 3]])


@pytest.mark.parametrize(("microseconds", "seconds"), [(None, None), (0, None), (1_500_000, 1.5)])
def test_a_timeout_of_the_request_reaches_the_service(client, service, microseconds, seconds):
    client.infer("echo", values(1, 2, 3), timeout=microseconds)

    assert service.requests[-1].timeout == seconds
