"""Why TensorRT does not load an engine, from what it says while it tries."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from nd_deploy.errors import BackendError
from nd_deploy.runtime.tensorrt.kept.engine_file import REBUILD

_HERE = f"{REBUILD} on this machine, or for it"


class _Cause(NamedTuple):
    """A kind of refusal.

    Attributes:
        problem: in words; {title} stands for the library.
        remedy: what to do about it.
        signs: parts of messages that give it away.
        diagnostics: TensorRT-RTX's names for it.
    """

    problem: str
    remedy: str
    signs: str
    diagnostics: Sequence[str] = ()


# The first that applies is told: a corrupt engine may look like one of another version, and without
# a driver everything ends in an error of CUDA's.
_CAUSES = (
    _Cause(
        "it is corrupt, or no engine of {title}",
        f"copy it again from where it is whole, or {REBUILD}",
        r"magic ?tag|expected format|header\.size|minBufferSize|empty (blob|memory)",
        ("MALFORMED_ENGINE",),
    ),
    _Cause(
        "it was built by another version of {title}",
        f"{REBUILD} with the version that is installed here, or install the one that built it",
        r"has been created with|compatible with this version|version tag does not match"
        r"|serialization version|old deserialization call",
        ("VERSION_MISMATCH",),
    ),
    _Cause(
        "it was built for another GPU",
        _HERE,
        r"incompatible device|cannot run on this GPU|does not support this compute capability",
        ("UNSUPPORTED_CC",),
    ),
    _Cause(
        "it needs a plugin that is not loaded",
        "name its library with --plugin FILE, or build the engine without plugins",
        r"(cannot|could not) find plugin|no creator registered",
    ),
    _Cause(
        "it brings code for this machine, which is not run unasked",
        "if you trust where it comes from, allow it with --option engine_host_code=1",
        r"HostCodeAllowed",
    ),
    _Cause(
        "the GPU's driver or the CUDA runtime is too old for it",
        "update the NVIDIA driver, or build the engine with an older version",
        r"incompatible CUDA driver version",
        ("OLD_CUDA_DRIVER", "OLD_CUDA_RUNTIME"),
    ),
    _Cause(
        "the GPU has too little memory for it",
        "end what else uses the GPU ('nvidia-smi' lists it), or build the engine for smaller "
        "shapes",
        r"out ?of ?memory",
        ("INSUFFICIENT_GPU_MEMORY",),
    ),
    _Cause(
        "there is no GPU that can be used",
        "run it on a machine with an NVIDIA GPU and its driver; 'nd-deploy doctor' shows what is "
        "here",
        r"cudaError (35|100)\b|CUDA initialization failure|no CUDA-capable device",
    ),
)


class Message(NamedTuple):
    """One line of TensorRT's.

    Attributes:
        severity: such as "ERROR".
        text: what it says.
    """

    severity: str
    text: str


class Messages(list[Message]):
    """What TensorRT said; a function of (severity, text) that keeps all but chatter."""

    def __call__(self, severity: str, text: str) -> None:
        """Keep one line; called from TensorRT's threads."""
        if severity != "VERBOSE":
            self.append(Message(severity, text))

    def errors(self) -> str:
        """The errors in one line."""
        texts = dict.fromkeys(text for severity, text in self if severity.endswith("ERROR"))
        return "; ".join(texts) or "it does not say why"


def refusal(
    engine: str, title: str, messages: Messages, diagnostics: Iterable[str] = ()
) -> BackendError:
    """The error of an engine that is not loaded.

    Args:
        engine: what to call it, such as its file.
        title: the library's.
        messages: what TensorRT said meanwhile.
        diagnostics: what TensorRT-RTX names when it is asked, if it is.
    """
    cause, said = _find(messages, set(diagnostics))
    if cause is None:
        return BackendError(
            f"{title} cannot load {engine}: {messages.errors()}",
            f"{_HERE}; 'nd-deploy doctor' shows what is here",
        )
    quoted = f" ({said})" if said else ""
    problem = cause.problem.format(title=title)
    return BackendError(f"{title} cannot load {engine}: {problem}{quoted}", cause.remedy)


def is_memory(messages: Messages) -> bool:
    """Whether TensorRT ran out of the GPU's memory."""
    return any(re.search(r"out ?of ?memory", text, re.IGNORECASE) for _, text in messages)


def _find(messages: Messages, diagnostics: set[str]) -> tuple[_Cause | None, str]:
    for cause in _CAUSES:
        matches: Callable[[str], object] = re.compile(cause.signs, re.IGNORECASE).search
        said = [text for _, text in messages if matches(text)]
        if said or diagnostics.intersection(cause.diagnostics):
            return cause, said[0].strip() if said else ""
    return None, ""
