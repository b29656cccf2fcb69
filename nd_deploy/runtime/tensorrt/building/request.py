"""What an engine is to be built from and how, and as what it goes to another process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nd_deploy.errors import InputError
from nd_deploy.runtime.tensorrt.profile import Profile

PLUGIN = "plugin"
BODY = "body"

PRECISIONS = ("float32", "float16", "bfloat16")
LEVELS = range(6)


@dataclass(frozen=True)
class BuildRequest:
    """What to build.

    Attributes:
        model: the ONNX file.
        library: "tensorrt" or "tensorrt_rtx"; None takes whichever is there.
        device: CUDA's number of the GPU that TensorRT builds on and for.
        profiles: the shapes to build for; none for a model whose shapes are all fixed.
        precision: what the model has to compute in, one of PRECISIONS; None takes it as it is. An
            engine has the types of its model, so that this only makes sure.
        tf32: whether float32 products may be computed in TF32.
        workspace_mib: how much device memory a layer may use to work in, in MiB.
        optimization_level: how long to look for fast kernels, one of LEVELS.
        timing_cache: a file of what earlier builds measured, read and written.
        compute_capabilities: such as "8.6", for TensorRT-RTX alone; none builds for all that it
            takes by default.
        plugin_libraries: shared libraries with plugins.
        python_plugins: whether to register the plugins written in Python.
        embed_plugins: whether the engine is to carry its plugin libraries.
        expected: by ND node, whether it has to run as PLUGIN or as BODY.
        expected_default: the same for the other ND nodes; None stands for PLUGIN where plugins are
            given and the op has one, and for BODY elsewhere.
        decisions: what became of each ND layer, as a bundle has it.
    """

    model: Path
    library: str | None = None
    device: int = 0
    profiles: tuple[Profile, ...] = ()
    precision: str | None = None
    tf32: bool = False
    workspace_mib: int | None = None
    optimization_level: int | None = None
    timing_cache: Path | None = None
    compute_capabilities: tuple[str, ...] = ()
    plugin_libraries: tuple[Path, ...] = ()
    python_plugins: bool = False
    embed_plugins: bool = False
    expected: Mapping[str, str] = field(default_factory=dict)
    expected_default: str | None = None
    decisions: tuple[Mapping[str, Any], ...] = ()

    @property
    def has_plugins(self) -> bool:
        """Whether any plugins are given."""
        return bool(self.plugin_libraries) or self.python_plugins

    def flags(self) -> tuple[str, ...]:
        """What else decides what is built, for the engine's key."""
        flags = {
            "workspace": self.workspace_mib,
            "optimization_level": self.optimization_level,
            "embed_plugins": self.embed_plugins or None,
            "python_plugins": self.python_plugins or None,
            "expect": self.expected_default,
            **{f"expect {node}": path for node, path in self.expected.items()},
        }
        return tuple(f"{name}={value}" for name, value in flags.items() if value is not None)

    def as_dict(self) -> dict[str, Any]:
        """The request as JSON-ready fields; every path is absolute."""
        return asdict(self) | {
            "model": str(self.model.absolute()),
            "timing_cache": self.timing_cache and str(self.timing_cache.absolute()),
            "plugin_libraries": [str(path.absolute()) for path in self.plugin_libraries],
            "profiles": [profile.as_dict() for profile in self.profiles],
            "expected": dict(self.expected),
            "decisions": [dict(decision) for decision in self.decisions],
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> BuildRequest:
        """The inverse of `as_dict`."""
        cache = fields["timing_cache"]
        changed = {
            "model": Path(fields["model"]),
            "timing_cache": None if cache is None else Path(cache),
            "plugin_libraries": tuple(map(Path, fields["plugin_libraries"])),
            "profiles": tuple(map(Profile.from_dict, fields["profiles"])),
            "compute_capabilities": tuple(fields["compute_capabilities"]),
            "decisions": tuple(fields["decisions"]),
        }
        return cls(**{**fields, **changed})


def check_request(request: BuildRequest) -> None:
    """Refuse what no library could build.

    Raises:
        InputError: a file is missing, or an option makes no sense.
    """
    for flag, path in (("", request.model), *(("--plugin ", p) for p in request.plugin_libraries)):
        if not path.is_file():
            kind = "is no file" if path.exists() else "does not exist"
            remedy = (
                "build the library with 'nd-deploy plugin build', and name the file that it wrote"
                if flag
                else "give the path of an ONNX model"
            )
            raise InputError(f"{flag}{path} {kind}", remedy)
    if request.precision not in (None, *PRECISIONS):
        raise InputError(
            f"precision {request.precision!r} is unknown", f"choose from {', '.join(PRECISIONS)}"
        )
    level, workspace = request.optimization_level, request.workspace_mib
    if level is not None and level not in LEVELS:
        raise InputError(
            f"--optimization-level {level} is not there", f"give {LEVELS[0]} to {LEVELS[-1]}"
        )
    if workspace is not None and workspace < 1:
        raise InputError(f"--workspace {workspace} is no size", "give at least 1, in MiB")
    if request.embed_plugins and not request.plugin_libraries:
        raise InputError(
            "--embed-plugins has no plugin library to embed", "name one with --plugin, or drop it"
        )
    _check_expected(request)


def _check_expected(request: BuildRequest) -> None:
    asked = [*request.expected.items()]
    if request.expected_default is not None:
        asked.append(("every ND node", request.expected_default))
    for name, path in asked:
        if path not in (PLUGIN, BODY):
            raise InputError(
                f"{name} is expected to run as {path!r}", f"expect {PLUGIN!r} or {BODY!r}"
            )
