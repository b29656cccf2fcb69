"""The messages of a model's configuration, as far as a server of ONNX models has anything to say.

Names and numbers are those of Triton's model configuration, whose other parts (sequences,
ensembles, caches, agents) do not exist here. A client reads what is absent as not set.
"""

from __future__ import annotations

from nd_deploy.serve.rpc.schema import Enumerations, Messages, keyed, many, one

CONFIG_ENUMERATIONS: Enumerations = {
    "DataType": (
        "TYPE_INVALID",
        "TYPE_BOOL",
        "TYPE_UINT8",
        "TYPE_UINT16",
        "TYPE_UINT32",
        "TYPE_UINT64",
        "TYPE_INT8",
        "TYPE_INT16",
        "TYPE_INT32",
        "TYPE_INT64",
        "TYPE_FP16",
        "TYPE_FP32",
        "TYPE_FP64",
        "TYPE_STRING",
        "TYPE_BF16",
    ),
    "Format": ("FORMAT_NONE", "FORMAT_NHWC", "FORMAT_NCHW"),
    "Kind": ("KIND_AUTO", "KIND_GPU", "KIND_CPU", "KIND_MODEL"),
    "TimeoutAction": ("REJECT", "DELAY"),
    "ModelPriority": ("PRIORITY_DEFAULT", "PRIORITY_MAX", "PRIORITY_MIN"),
}

_TENSORS: Messages = {
    "ModelTensorReshape": (many(1, "shape", "int64"),),
    "ModelInput": (
        one(1, "name", "string"),
        one(2, "data_type", "DataType"),
        one(3, "format", "Format"),
        many(4, "dims", "int64"),
        one(5, "reshape", "ModelTensorReshape"),
        one(6, "is_shape_tensor", "bool"),
        one(7, "allow_ragged_batch", "bool"),
        one(8, "optional", "bool"),
        one(9, "is_non_linear_format_io", "bool"),
    ),
    "ModelOutput": (
        one(1, "name", "string"),
        one(2, "data_type", "DataType"),
        many(3, "dims", "int64"),
        one(4, "label_filename", "string"),
        one(5, "reshape", "ModelTensorReshape"),
        one(6, "is_shape_tensor", "bool"),
        one(7, "is_non_linear_format_io", "bool"),
    ),
}
_VERSIONS: Messages = {
    "Latest": (one(1, "num_versions", "uint32"),),
    "All": (),
    "Specific": (many(1, "versions", "int64"),),
    "ModelVersionPolicy": (
        one(1, "latest", "Latest", "policy_choice"),
        one(2, "all", "All", "policy_choice"),
        one(3, "specific", "Specific", "policy_choice"),
    ),
}
_OPTIMIZATION: Messages = {
    "Graph": (one(1, "level", "int32"),),
    "Cuda": (
        one(1, "graphs", "bool"),
        one(2, "busy_wait_events", "bool"),
        one(4, "output_copy_stream", "bool"),
    ),
    "Accelerator": (one(1, "name", "string"), keyed(2, "parameters", "string")),
    "ExecutionAccelerators": (
        many(1, "gpu_execution_accelerator", "Accelerator"),
        many(2, "cpu_execution_accelerator", "Accelerator"),
    ),
    "PinnedMemoryBuffer": (one(1, "enable", "bool"),),
    "ModelOptimizationPolicy": (
        one(1, "graph", "Graph"),
        one(2, "priority", "ModelPriority"),
        one(3, "cuda", "Cuda"),
        one(4, "execution_accelerators", "ExecutionAccelerators"),
        one(5, "input_pinned_memory", "PinnedMemoryBuffer"),
        one(6, "output_pinned_memory", "PinnedMemoryBuffer"),
        one(7, "gather_kernel_buffer_threshold", "uint32"),
        one(8, "eager_batching", "bool"),
    ),
}
_SCHEDULING: Messages = {
    "ModelInstanceGroup": (
        one(1, "name", "string"),
        one(2, "count", "int32"),
        many(3, "gpus", "int32"),
        one(4, "kind", "Kind"),
        many(5, "profile", "string"),
        one(7, "passive", "bool"),
        one(9, "host_policy", "string"),
    ),
    "ModelQueuePolicy": (
        one(1, "timeout_action", "TimeoutAction"),
        one(2, "default_timeout_microseconds", "uint64"),
        one(3, "allow_timeout_override", "bool"),
        one(4, "max_queue_size", "uint32"),
    ),
    "ModelDynamicBatching": (
        many(1, "preferred_batch_size", "int32"),
        one(2, "max_queue_delay_microseconds", "uint64"),
        one(3, "preserve_ordering", "bool"),
        one(4, "priority_levels", "uint64"),
        one(5, "default_priority_level", "uint64"),
        one(6, "default_queue_policy", "ModelQueuePolicy"),
    ),
    "ModelTransactionPolicy": (one(1, "decoupled", "bool"),),
}

CONFIG_MESSAGES: Messages = {
    **_TENSORS,
    **_VERSIONS,
    **_OPTIMIZATION,
    **_SCHEDULING,
    "ModelParameter": (one(1, "string_value", "string"),),
    "ModelConfig": (
        one(1, "name", "string"),
        one(2, "platform", "string"),
        one(3, "version_policy", "ModelVersionPolicy"),
        one(4, "max_batch_size", "int32"),
        many(5, "input", "ModelInput"),
        many(6, "output", "ModelOutput"),
        many(7, "instance_group", "ModelInstanceGroup"),
        one(8, "default_model_filename", "string"),
        keyed(9, "cc_model_filenames", "string"),
        keyed(10, "metric_tags", "string"),
        one(11, "dynamic_batching", "ModelDynamicBatching", "scheduling_choice"),
        one(12, "optimization", "ModelOptimizationPolicy"),
        keyed(14, "parameters", "ModelParameter"),
        one(17, "backend", "string"),
        one(19, "model_transaction_policy", "ModelTransactionPolicy"),
        one(25, "runtime", "string"),
    ),
}
