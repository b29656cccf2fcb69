"""The configuration as Triton's own protobuf reads it."""

import numpy as np
import pytest
from google.protobuf import text_format
from tiny_bundle import model
from triton_models import OPEN_SIZES, TWO_INPUTS, parsed

from nd_deploy.triton.export import export_triton

model_config_pb2 = pytest.importorskip(
    "tritonclient.grpc.model_config_pb2", reason="needs tritonclient[grpc]"
)


@pytest.fixture
def config_of(tmp_path):
    def configured(bundle, **how):
        output = tmp_path / "repo"
        export_triton(bundle.path, output, name="m", overwrite=True, **how)
        text = (output / "m" / "config.pbtxt").read_text()
        return text_format.Parse(text, model_config_pb2.ModelConfig())

    return configured


def parameters(config):
    return {key: value.string_value for key, value in config.parameters.items()}


def accelerators(config):
    listed = config.optimization.execution_accelerators.gpu_execution_accelerator
    return {each.name: dict(each.parameters) for each in listed}


def test_a_classifier_on_the_cpu_is_described(make_bundle, config_of):
    config = config_of(make_bundle(), threads=3, instances=2)
    assert (config.name, config.backend, config.platform) == (
        "m",
        "onnxruntime",
        "onnxruntime_onnx",
    )
    assert config.max_batch_size == 32
    (image,), (logits,) = config.input, config.output
    assert (image.name, image.data_type, list(image.dims)) == (
        "image",
        model_config_pb2.TYPE_FP32,
        [1, 2, 2],
    )
    assert (logits.name, list(logits.dims), logits.label_filename) == ("logits", [3], "labels.txt")
    (group,) = config.instance_group
    assert (group.count, group.kind) == (2, model_config_pb2.ModelInstanceGroup.KIND_CPU)
    assert parameters(config) == {"intra_op_thread_count": "3", "inter_op_thread_count": "1"}


def test_requests_are_joined_without_delay_and_wait_in_a_bounded_queue(make_bundle, config_of):
    batching = config_of(make_bundle()).dynamic_batching
    assert batching.max_queue_delay_microseconds == 0
    policy = batching.default_queue_policy
    assert policy.timeout_action == model_config_pb2.ModelQueuePolicy.REJECT
    assert policy.default_timeout_microseconds == 30_000_000
    assert policy.allow_timeout_override
    assert policy.max_queue_size == 256


def test_a_gpu_waits_for_few_sizes_of_a_batch(make_bundle, config_of):
    config = config_of(make_bundle(), accelerator="cuda", max_batch=16)
    assert list(config.dynamic_batching.preferred_batch_size) == [4, 8, 16]
    assert config.dynamic_batching.max_queue_delay_microseconds == 1000
    (group,) = config.instance_group
    assert (group.kind, list(group.gpus)) == (model_config_pb2.ModelInstanceGroup.KIND_GPU, [0])
    assert [sample.batch_size for sample in config.model_warmup] == [1, 4, 8, 16]


def test_the_cuda_provider_computes_in_float32_unless_told_otherwise(make_bundle, config_of):
    bundle = make_bundle()
    assert accelerators(config_of(bundle, accelerator="cuda")) == {"cuda": {"use_tf32": "0"}}
    config = config_of(bundle, accelerator="cuda", tf32=True)
    assert accelerators(config) == {"cuda": {"use_tf32": "1"}}
    # The backend takes these from here alone.
    assert {"cudnn_conv_algo_search", "arena_extend_strategy"} < set(parameters(config))


def test_requests_are_not_joined_where_outputs_depend_on_the_batch(make_bundle, config_of):
    config = config_of(make_bundle(batch_dependent=True))
    assert config.max_batch_size == 32
    assert not config.HasField("dynamic_batching")


def test_a_fixed_batch_is_part_of_the_shapes(make_bundle, config_of):
    config = config_of(make_bundle(model=model(batch="4")))
    assert config.max_batch_size == 0
    assert list(config.input[0].dims) == [4, 1, 2, 2]
    assert not config.HasField("dynamic_batching")
    # Triton would look for classes among all 12 scores.
    assert not config.output[0].label_filename
    assert [list(sample.inputs["image"].dims) for sample in config.model_warmup] == [[4, 1, 2, 2]]


def test_a_fixed_batch_of_one_keeps_its_labels(make_bundle, config_of):
    config = config_of(make_bundle(model=model(batch="1")))
    assert (list(config.output[0].dims), config.output[0].label_filename) == ([1, 3], "labels.txt")


def test_every_input_has_a_profile_of_every_batch(make_bundle, config_of):
    reference = {"input/a": np.zeros((3, 2), np.float32), "input/b": np.zeros((3, 2), np.int64)}
    bundle = make_bundle(model=parsed(TWO_INPUTS), reference=reference, labels=None)
    options = accelerators(config_of(bundle, accelerator="tensorrt", max_batch=8))["tensorrt"]
    assert options["trt_profile_min_shapes"] == "a:1x2,b:1x2"
    assert options["trt_profile_opt_shapes"] == "a:2x2,b:2x2"
    assert options["trt_profile_max_shapes"] == "a:8x2,b:8x2"
    assert options["precision_mode"] == "FP32"
    assert options["trt_engine_cache_path"] == "/engines"


def test_one_value_of_a_request_is_an_axis_that_is_reshaped_away(make_bundle, config_of):
    config = config_of(make_bundle(model=parsed(TWO_INPUTS), reference={}, labels=None))
    assert [each.data_type for each in config.input] == [
        model_config_pb2.TYPE_FP32,
        model_config_pb2.TYPE_INT64,
    ]
    total = config.output[1]
    assert list(total.dims) == [1]
    assert total.HasField("reshape")
    assert list(total.reshape.shape) == []


def test_open_sizes_are_warmed_up_at_a_size_that_the_model_has_run_on(make_bundle, config_of):
    bundle = make_bundle(
        model=parsed(OPEN_SIZES),
        reference={"input/image": np.zeros((2, 1, 6, 5), np.float32)},
        labels=None,
    )
    config = config_of(bundle)
    assert list(config.input[0].dims) == [1, -1, -1]
    assert {tuple(s.inputs["image"].dims) for s in config.model_warmup} == {(1, 6, 5)}
    # Engines run on nothing but the shapes that they are built for.
    shape = "image=1x1x8x8:8x1x16x16:32x1x32x32"
    config = config_of(bundle, accelerator="tensorrt", shapes=[shape])
    assert {tuple(s.inputs["image"].dims) for s in config.model_warmup} == {(1, 16, 16)}
    options = accelerators(config)["tensorrt"]
    assert options["trt_profile_max_shapes"] == "image:32x1x32x32"


def test_other_shapes_get_other_engines(make_bundle, config_of):
    bundle = make_bundle()
    prefixes = [
        accelerators(config_of(bundle, accelerator="tensorrt", max_batch=size))["tensorrt"][
            "trt_engine_cache_prefix"
        ]
        for size in (8, 16, 8)
    ]
    assert prefixes[0] == prefixes[2] != prefixes[1]
