"""What the server says of itself and its models is what clients of Triton and KServe read."""

import json
from dataclasses import replace

import pytest
from google.protobuf import json_format
from protocol_bodies import IMAGES, model
from tritonclient.grpc import model_config_pb2

from nd_deploy.serve.exchange import ModelState
from nd_deploy.serve.protocol import metadata
from nd_deploy.serve.protocol.configuration import model_config
from nd_deploy.serve.protocol.datatypes import config_type, datatype_of, item_size, numpy_dtype
from nd_deploy.serve.refusal import Refusal
from nd_deploy.serve.settings import Settings

SCALARS = model(
    ("x", "INT64", (-1,)),
    outputs=(("y", "FP16", (-1, -1)), ("z", "BOOL", (-1,))),
    labels=("a", "b"),
)


def parsed(spec, settings=Settings()):  # noqa: B008 - frozen
    """The configuration as Triton's own message, which knows no other fields."""
    text = json.dumps(model_config(spec, settings))
    return json_format.Parse(text, model_config_pb2.ModelConfig())


def test_a_configuration_is_one_of_triton():
    config = parsed(IMAGES, Settings(batch_delay=0.002, deadline=5, queue_limit=7, instances=2))
    assert (config.name, config.platform, config.backend) == (
        "demo",
        "onnxruntime_onnx",
        "onnxruntime",
    )
    assert config.max_batch_size == 32
    (given,) = config.input
    assert (given.name, list(given.dims)) == ("input", [3, 4, 4])
    assert given.data_type == model_config_pb2.TYPE_FP32
    assert list(config.output[0].dims) == [10]
    assert config.version_policy.latest.num_versions == 1
    assert config.dynamic_batching.max_queue_delay_microseconds == 2000
    policy = config.dynamic_batching.default_queue_policy
    assert (policy.default_timeout_microseconds, policy.max_queue_size) == (5_000_000, 7)
    assert policy.allow_timeout_override
    assert config.instance_group[0].count == 2
    assert config.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_CPU


def test_a_fixed_batch_is_part_of_the_dims_and_is_not_batched():
    config = parsed(model(("x", "FP32", (4, 3)), outputs=(("y", "FP32", (4, 2)),), max_batch=0))
    assert list(config.input[0].dims) == [4, 3]
    assert not config.HasField("dynamic_batching")


def test_tensors_of_a_number_each_are_reshaped():
    config = parsed(SCALARS)
    assert (list(config.input[0].dims), list(config.input[0].reshape.shape)) == ([1], [])
    assert config.input[0].HasField("reshape")
    assert list(config.output[0].dims) == [-1]
    assert config.output[0].label_filename == "labels.txt"
    assert not config.output[0].HasField("reshape")


def test_threads_are_those_of_tritons_backend():
    assert "intra_op_thread_count" not in parsed(IMAGES).parameters
    config = parsed(IMAGES, Settings(threads=3))
    assert config.parameters["intra_op_thread_count"].string_value == "3"


def test_a_gpu_is_told_from_the_processor():
    on_gpu = replace(IMAGES, providers=("CUDAExecutionProvider", "CPUExecutionProvider"))
    assert parsed(on_gpu).instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_GPU


def test_every_datatype_has_a_name_in_triton():
    names = ["BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"]
    names += ["FP16", "FP32", "FP64", "BF16"]
    for name in names:
        assert config_type(name) in set(model_config_pb2.DataType.keys())
        assert datatype_of(numpy_dtype(name)) == name
        digits = name.lstrip("BUINTFPOL")
        assert item_size(name) == (int(digits) // 8 if digits else 1)
    assert config_type("BYTES") == "TYPE_STRING"
    assert datatype_of("float32") == "FP32"


def test_metadata_of_a_model_has_the_batch():
    assert metadata.model_metadata(SCALARS) == {
        "name": "demo",
        "versions": ["3"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "INT64", "shape": [-1]}],
        "outputs": [
            {"name": "y", "datatype": "FP16", "shape": [-1, -1]},
            {"name": "z", "datatype": "BOOL", "shape": [-1]},
        ],
    }


def test_the_server_names_its_extensions():
    described = metadata.server_metadata("1.2")
    assert (described["name"], described["version"]) == ("nd-deploy", "1.2")
    assert {"binary_tensor_data", "classification", "statistics"} <= set(described["extensions"])


def test_readiness_is_said_as_kserve_reads_it():
    assert metadata.live() == {"live": True}
    assert metadata.server_ready(False) == {"ready": False}
    assert metadata.model_ready(IMAGES) == {"name": "demo", "ready": True}


STATES = [
    ModelState("a", "1", "READY"),
    ModelState("b", "2", "UNAVAILABLE", "its file is damaged"),
]


def test_the_index_lists_every_model_or_those_that_are_ready():
    listed = metadata.repository_index(STATES, only_ready=False)
    assert [(item["name"], item["version"], item["state"], item["reason"]) for item in listed] == [
        ("a", "1", "READY", ""),
        ("b", "2", "UNAVAILABLE", "its file is damaged"),
    ]
    assert [item["name"] for item in metadata.repository_index(STATES, only_ready=True)] == ["a"]


@pytest.mark.parametrize(
    ("body", "only_ready"), [(b"", False), (b"{}", False), (b'{"ready": true}', True)]
)
def test_the_index_is_asked_for_with_or_without_a_body(body, only_ready):
    assert metadata.index_only_ready(body) is only_ready


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"ready": 1}', b"\xff", b"null"])
def test_an_index_that_is_asked_for_wrongly_is_refused(body):
    with pytest.raises(Refusal) as refusal:
        metadata.index_only_ready(body)
    assert refusal.value.status == 400
