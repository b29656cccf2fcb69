"""Changes to the configuration of the tiny model for TensorRT, each of which breaks it.

Each is what to replace, by what, and what is then found.
"""

REFUSED_BY_THE_CORE = [
    ('name: "tiny"', 'name: "other"', "name is 'other' in folder 'tiny'"),
    ("onnxruntime_onnx", "tensorrt_plan", "platform is 'tensorrt_plan' with backend"),
    ("max_batch_size: 32", "max_batch_size: -1", "max_batch_size is negative"),
    ("max_batch_size: 32", "max_batch_size: 0", "dynamic_batching with max_batch_size 0"),
    ("max_batch_size: 32", "max_batch_size: 16", "preferred_batch_size has 32"),
    ("[8, 16, 32]", "[0]", "preferred_batch_size has 0"),
    ("TYPE_FP32", "TYPE_FLOAT", "has data_type 'TYPE_FLOAT'"),
    ("dims: [3]", "", "output 'logits' has no dims"),
    ("dims: [3]", "dims: [0]", "output 'logits' has dims [0]"),
    ("dims: [3]", "dims: [3] reshape { shape: [2] }", "has dims [3] and reshape [2]"),
    ("dims: [1, 2, 2]\n}", "dims: [1, 4]\n  format: FORMAT_NCHW\n}", "has a format and dims"),
    ('name: "logits"', "", "output '' has no name"),
    ("dynamic_batching {", "dynamic_batching { priority_levels: 2", "default_priority_level"),
    ("input {", "input [", "config.pbtxt cannot be read: line"),
]
# By a backend, by nobody, or only where the model is asked.
REFUSED_LATER = [
    ("max_batch_size: 32", "max_batch_size: 64", "takes batches of 1 to 32"),
    ("TYPE_FP32", "TYPE_FP16", "in the model it is float32"),
    ("dims: [3]", "dims: [4]", "labels.txt has 3 labels"),
    ("dims: [1, 2, 2]", "dims: [32, 1, 2, 2]", "input 'image' has dims [32, 1, 2, 2]"),
    ('name: "image"', 'name: "picture"', "input 'picture' is not in the model"),
    ("KIND_GPU", "KIND_CPU", "instance_group of KIND_CPU names GPUs"),
    ("count: 1", "count: 0", "instance_group has no instance"),
    ("gpus: [0]", 'profile: ["0"]', "instance_group names profiles"),
    ("batch_size: 16", "batch_size: 33", "model_warmup 'batch 16' has a batch of 33"),
    ('key: "image"', 'key: "other"', "has inputs ['other']: the model's are ['image']"),
    ("zero_data: true", "dims: [-1]", "has dims [1, 2, 2, -1] of 'image'"),
    ('name: "cuda"', 'name: "rocm"', "accelerator 'rocm' is unknown"),
    ("use_tf32", "arena_extend_strategy", "arena_extend_strategy is an option of accelerator"),
    ("trt_timing_cache_path", "trt_timing_path", "has option 'trt_timing_path'"),
    ('value: "FP32"', 'value: "FP8"', "precision_mode is 'FP8'"),
    ("trt_profile_opt_shapes", "trt_cuda_graph_enable", "do not all have input 'image'"),
    ("image:1x1x2x2", "image:2x1x2x2", "takes batches of 2 to 32"),
    ('label_filename: "labels.txt"', 'label_filename: "l.txt"', "l.txt cannot be read"),
    ('"model.onnx"', '"net.onnx"', "version 1 has no net.onnx"),
]
