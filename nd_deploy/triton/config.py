"""The model configuration, which Triton calls config.pbtxt.

It starts from what the server of our own tells clients, which is said in the same terms, and adds
what a host needs to know. Its fields are those of Triton's model_config.proto.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nd_deploy.runtime.tensorrt.profile import Range, Shape
from nd_deploy.serve.exchange import ModelSpec
from nd_deploy.serve.protocol.configuration import model_config
from nd_deploy.serve.protocol.datatypes import config_type
from nd_deploy.serve.settings import Settings
from nd_deploy.triton.accelerators import CPU, CUDA, ENGINES, FILES, PLAN, PLATFORMS, TENSORRT
from nd_deploy.triton.pbtxt import Value, Word

# On a GPU a batch that is not full costs as much as one that is.
_GPU_DELAY = 0.001
# The provider's own default tunes anew for each size of a batch; these are the backend's numbers.
_HEURISTIC, _AS_REQUESTED = "1", "1"
_MODES = (("bfloat16", "BF16"), ("float16", "FP16"))
_ENUMS = ("data_type", "format", "kind", "timeout_action")
_MAPS = ("parameters", "inputs")
# What text format leaves out: a field that has its default.
_UNSAID = ("", False, "FORMAT_NONE")


@dataclass(frozen=True)
class Hosting:
    """How a model is run.

    Attributes:
        accelerator: one of ACCELERATORS.
        instances: of the model that run at once.
        threads: of one operator, on the CPU.
        tf32: whether float32 products may be computed in TF32.
        precision: of the bundle, such as "float32".
        samples: a shape of each input, without the batch, that the model runs on.
        ranges: the shapes that engines are built for, of each input that has an open axis.
        cache_prefix: of the engines' files.
        profiles: how many optimisation profiles a plan has.
    """

    accelerator: str = CPU
    instances: int = 1
    threads: int = 4
    tf32: bool = False
    precision: str = "float32"
    samples: Mapping[str, Shape] = field(default_factory=dict)
    ranges: Mapping[str, Range] = field(default_factory=dict)
    cache_prefix: str = ""
    profiles: int = 0

    @property
    def backend(self) -> str:
        """The backend of Triton's that runs it."""
        return "tensorrt" if self.accelerator == PLAN else "onnxruntime"

    @property
    def on_gpu(self) -> bool:
        """Whether it takes a GPU."""
        return self.accelerator != CPU

    @property
    def settings(self) -> Settings:
        """What the server of our own would be told."""
        if self.on_gpu:
            return Settings(instances=self.instances, threads=1, batch_delay=_GPU_DELAY)
        return Settings(instances=self.instances, threads=self.threads)


def configuration(model: ModelSpec, hosting: Hosting) -> dict[str, Value]:
    """The fields of config.pbtxt, in order."""
    config = model_config(model, hosting.settings) | {
        "backend": hosting.backend,
        "platform": PLATFORMS[hosting.backend],
        "default_model_filename": FILES[hosting.backend],
        "instance_group": [_instances(hosting)],
    }
    if hosting.accelerator == PLAN:
        del config["parameters"]
    else:
        config["parameters"] |= {
            key: {"string_value": value} for key, value in _parameters(hosting).items()
        }
    if hosting.on_gpu:
        config["optimization"] = _optimization(model, hosting)
        if model.batching:
            config["dynamic_batching"]["preferred_batch_size"] = preferred_sizes(model)
    config["model_warmup"] = [_warm_up(model, hosting, size) for size in warm_sizes(model, hosting)]
    return dict(_fields(config))


def preferred_sizes(model: ModelSpec) -> list[int]:
    """The batches that are worth waiting for: few, since each takes memory of its own on a GPU."""
    sizes = [model.max_batch]
    while len(sizes) < 3 and sizes[0] % 2 == 0:
        sizes.insert(0, sizes[0] // 2)
    return sizes


def warm_sizes(model: ModelSpec, hosting: Hosting) -> list[int]:
    """The batches that are run before the model is ready."""
    usual = preferred_sizes(model) if hosting.on_gpu else [model.max_batch]
    return sorted({1, *usual}) if model.max_batch else [1]


def _instances(hosting: Hosting) -> dict[str, Any]:
    group: dict[str, Any] = {"count": hosting.instances}
    if not hosting.on_gpu:
        return group | {"kind": "KIND_CPU"}
    group |= {"kind": "KIND_GPU", "gpus": [0]}
    if hosting.profiles:
        group["profile"] = [str(index) for index in range(hosting.profiles)]
    return group


def _parameters(hosting: Hosting) -> dict[str, str]:
    threads = {"inter_op_thread_count": "1"}
    if not hosting.on_gpu:
        return threads
    return threads | {
        "cudnn_conv_algo_search": _HEURISTIC,
        "arena_extend_strategy": _AS_REQUESTED,
    }


def _optimization(model: ModelSpec, hosting: Hosting) -> dict[str, Any]:
    if hosting.accelerator == PLAN:
        return {"cuda": _graphs(model, hosting)}
    accelerators = [{"name": CUDA, "parameters": {"use_tf32": str(int(hosting.tf32))}}]
    if hosting.accelerator == TENSORRT:
        accelerators.insert(0, {"name": TENSORRT, "parameters": _engine_options(hosting)})
    return {"execution_accelerators": {"gpu_execution_accelerator": accelerators}}


def _graphs(model: ModelSpec, hosting: Hosting) -> dict[str, Any]:
    """A CUDA graph of each batch that is warmed up; none where other sizes are open too."""
    batched = 1 if model.max_batch else 0
    if any(-1 in tensor.shape[batched:] for tensor in model.inputs):
        return {"graphs": False}
    sizes = warm_sizes(model, hosting) if model.max_batch else [0]
    return {"graphs": True, "graph_spec": [{"batch_size": size} for size in sizes]}


def _engine_options(hosting: Hosting) -> dict[str, str]:
    mode = next((mode for dtype, mode in _MODES if dtype in hosting.precision), "FP32")
    options = {
        "precision_mode": mode,
        "trt_engine_cache_enable": "true",
        "trt_engine_cache_path": ENGINES,
        "trt_engine_cache_prefix": hosting.cache_prefix,
        "trt_timing_cache_enable": "true",
        "trt_timing_cache_path": ENGINES,
    }
    for which in ("min", "opt", "max") if hosting.ranges else ():
        options[f"trt_profile_{which}_shapes"] = ",".join(
            f"{name}:{'x'.join(map(str, getattr(shapes, which)))}"
            for name, shapes in hosting.ranges.items()
        )
    return options


def _warm_up(model: ModelSpec, hosting: Hosting, size: int) -> dict[str, Any]:
    inputs = {
        tensor.name: {
            "data_type": config_type(tensor.datatype),
            "dims": list(hosting.samples[tensor.name]),
            "zero_data": True,
        }
        for tensor in model.inputs
    }
    return {"name": f"batch {size}", "batch_size": size, "inputs": inputs}


def _fields(message: Mapping[str, Any]) -> Iterator[tuple[str, Value]]:
    """From protobuf's JSON to text format: maps are lists of pairs, and enums stand bare."""
    for name, value in message.items():
        if isinstance(value, str | bool) and value in _UNSAID:
            continue
        yield name, _field(name, value)


def _field(name: str, value: Any) -> Value:  # noqa: ANN401
    if name in _MAPS:
        return [dict(_fields({"key": key, "value": each})) for key, each in value.items()]
    if isinstance(value, Mapping):
        return dict(_fields(value))
    if isinstance(value, list):
        return [_field("", each) for each in value]
    return Word(value) if name in _ENUMS else value
