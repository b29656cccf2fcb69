"""The facts of an environment with what follows from them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from nd_deploy.bundle.files import readable_size
from nd_deploy.doctor.capabilities import Capability, capabilities
from nd_deploy.doctor.collect import collect
from nd_deploy.doctor.facts import Facts, TensorRt
from nd_deploy.doctor.judge import Finding, judge

_ABSENT = "not installed"


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        environment: facts in words, by what they are about.
        packages: installed versions, by distribution.
        gpus: each in words.
        capabilities: what works.
        findings: what does not fit each other.
        conflict: what breaks the environment as a whole, and the command that ends it.
        facts: everything that was looked at.
    """

    environment: dict[str, str]
    packages: dict[str, str]
    gpus: tuple[str, ...]
    capabilities: tuple[Capability, ...]
    findings: tuple[Finding, ...]
    conflict: str | None
    facts: Facts

    def as_dict(self) -> dict[str, Any]:
        """The diagnosis as JSON-ready fields."""
        return asdict(self)


def examine() -> Diagnosis:
    """Look at everything that nd-deploy may use."""
    return diagnose(collect())


def diagnose(facts: Facts) -> Diagnosis:
    """Say what follows from facts.

    Args:
        facts: of an environment.
    """
    return Diagnosis(
        environment=_environment(facts),
        packages=dict(facts.packages),
        gpus=tuple(
            ", ".join(filter(None, (gpu.name, gpu.memory, f"compute {gpu.compute_capability}")))
            for gpu in facts.gpus
        ),
        capabilities=capabilities(facts),
        findings=judge(facts),
        conflict=facts.conflict,
        facts=facts,
    )


def _environment(facts: Facts) -> dict[str, str]:
    told = {
        "python": facts.python,
        "platform": facts.platform,
        "processors": str(facts.processors),
        "telemetry": _telemetry(facts.telemetry_off),
    }
    if facts.jetson:
        told["Jetson Linux"] = facts.jetson
    return told | {
        "driver": _driver(facts),
        "nvcc": facts.nvcc or "not found",
        "cuDNN": facts.cudnn or "not found",
        "CUDA through": facts.cuda_package or "no package",
        "TensorRT": _tensorrt(facts.tensorrt),
        "TensorRT-RTX": _tensorrt(facts.tensorrt_rtx),
        "plugin library": _plugins(facts),
        "engine cache": _cache(facts),
    }


def _telemetry(off: bool) -> str:
    if off:
        return "ONNX Runtime's is off"
    return "ONNX Runtime's is on: ORT_DISABLE_TELEMETRY is not 1"


def _driver(facts: Facts) -> str:
    if facts.driver is None:
        return "not found"
    version = facts.driver.version or "of unknown version"
    return f"{version}, for CUDA up to {facts.driver.cuda}" if facts.driver.cuda else version


def _tensorrt(module: TensorRt | None) -> str:
    if module is None:
        return _ABSENT
    return module.version or f"installed, but broken: {module.problem}"


def _plugins(facts: Facts) -> str:
    told = [
        f"{plugin.path} ({plugin.problem or f'{len(plugin.ops)} plugins'})"
        for plugin in facts.plugins
    ]
    return "; ".join(told) or "not built"


def _cache(facts: Facts) -> str:
    cache = facts.cache
    if cache.folder is None:
        return str(cache.problem)
    size = f"{cache.engines} files, {readable_size(cache.bytes)}" if cache.engines else "empty"
    return f"{cache.folder} ({cache.problem or size})"
