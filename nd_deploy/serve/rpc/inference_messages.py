"""The messages of `inference.GRPCInferenceService`.

Names and numbers are those of the Open Inference Protocol's gRPC API and of Triton's extensions of
it (model configuration, statistics, model repository). Messages that the protocol nests in others
stand beside them here, which is the same on the wire.
"""

from __future__ import annotations

from nd_deploy.serve.rpc.schema import Field, Messages, keyed, many, one

_MODEL_AND_VERSION = (one(1, "name", "string"), one(2, "version", "string"))
_TENSOR = (
    one(1, "name", "string"),
    one(2, "datatype", "string"),
    many(3, "shape", "int64"),
    keyed(4, "parameters", "InferParameter"),
    one(5, "contents", "InferTensorContents"),
)
_CHOICE = "parameter_choice"

_HEALTH: Messages = {
    "ServerLiveRequest": (),
    "ServerLiveResponse": (one(1, "live", "bool"),),
    "ServerReadyRequest": (),
    "ServerReadyResponse": (one(1, "ready", "bool"),),
    "ModelReadyRequest": _MODEL_AND_VERSION,
    "ModelReadyResponse": (one(1, "ready", "bool"),),
}
_METADATA: Messages = {
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": (
        one(1, "name", "string"),
        one(2, "version", "string"),
        many(3, "extensions", "string"),
    ),
    "TensorMetadata": (
        one(1, "name", "string"),
        one(2, "datatype", "string"),
        many(3, "shape", "int64"),
    ),
    "ModelMetadataRequest": _MODEL_AND_VERSION,
    "ModelMetadataResponse": (
        one(1, "name", "string"),
        many(2, "versions", "string"),
        one(3, "platform", "string"),
        many(4, "inputs", "TensorMetadata"),
        many(5, "outputs", "TensorMetadata"),
    ),
}
_INFERENCE: Messages = {
    "InferParameter": (
        one(1, "bool_param", "bool", _CHOICE),
        one(2, "int64_param", "int64", _CHOICE),
        one(3, "string_param", "string", _CHOICE),
        one(4, "double_param", "double", _CHOICE),
        one(5, "uint64_param", "uint64", _CHOICE),
    ),
    "InferTensorContents": (
        many(1, "bool_contents", "bool"),
        many(2, "int_contents", "int32"),
        many(3, "int64_contents", "int64"),
        many(4, "uint_contents", "uint32"),
        many(5, "uint64_contents", "uint64"),
        many(6, "fp32_contents", "float"),
        many(7, "fp64_contents", "double"),
        many(8, "bytes_contents", "bytes"),
    ),
    "InferInputTensor": _TENSOR,
    "InferRequestedOutputTensor": (
        one(1, "name", "string"),
        keyed(2, "parameters", "InferParameter"),
    ),
    "InferOutputTensor": _TENSOR,
    "ModelInferRequest": (
        one(1, "model_name", "string"),
        one(2, "model_version", "string"),
        one(3, "id", "string"),
        keyed(4, "parameters", "InferParameter"),
        many(5, "inputs", "InferInputTensor"),
        many(6, "outputs", "InferRequestedOutputTensor"),
        many(7, "raw_input_contents", "bytes"),
    ),
    "ModelInferResponse": (
        one(1, "model_name", "string"),
        one(2, "model_version", "string"),
        one(3, "id", "string"),
        keyed(4, "parameters", "InferParameter"),
        many(5, "outputs", "InferOutputTensor"),
        many(6, "raw_output_contents", "bytes"),
    ),
}


def _durations(*names: str, start: int = 1) -> tuple[Field, ...]:
    return tuple(one(number, name, "StatisticDuration") for number, name in enumerate(names, start))


_STATISTICS: Messages = {
    "StatisticDuration": (one(1, "count", "uint64"), one(2, "ns", "uint64")),
    "InferStatistics": _durations(
        "success",
        "fail",
        "queue",
        "compute_input",
        "compute_infer",
        "compute_output",
        "cache_hit",
        "cache_miss",
    ),
    "InferResponseStatistics": _durations(
        "compute_infer", "compute_output", "success", "fail", "empty_response", "cancel"
    ),
    "InferBatchStatistics": (
        one(1, "batch_size", "uint64"),
        *_durations("compute_input", "compute_infer", "compute_output", start=2),
    ),
    "MemoryUsage": (
        one(1, "type", "string"),
        one(2, "id", "int64"),
        one(3, "byte_size", "uint64"),
    ),
    "ModelStatistics": (
        one(1, "name", "string"),
        one(2, "version", "string"),
        one(3, "last_inference", "uint64"),
        one(4, "inference_count", "uint64"),
        one(5, "execution_count", "uint64"),
        one(6, "inference_stats", "InferStatistics"),
        many(7, "batch_stats", "InferBatchStatistics"),
        many(8, "memory_usage", "MemoryUsage"),
        keyed(9, "response_stats", "InferResponseStatistics"),
    ),
    "ModelStatisticsRequest": _MODEL_AND_VERSION,
    "ModelStatisticsResponse": (many(1, "model_stats", "ModelStatistics"),),
}
_REPOSITORY: Messages = {
    "RepositoryIndexRequest": (one(1, "repository_name", "string"), one(2, "ready", "bool")),
    "ModelIndex": (
        one(1, "name", "string"),
        one(2, "version", "string"),
        one(3, "state", "string"),
        one(4, "reason", "string"),
    ),
    "RepositoryIndexResponse": (many(1, "models", "ModelIndex"),),
}
_CONFIGURATION: Messages = {
    "ModelConfigRequest": _MODEL_AND_VERSION,
    "ModelConfigResponse": (one(1, "config", "ModelConfig"),),
}

INFERENCE_MESSAGES: Messages = {
    **_HEALTH,
    **_METADATA,
    **_INFERENCE,
    **_STATISTICS,
    **_REPOSITORY,
    **_CONFIGURATION,
}
