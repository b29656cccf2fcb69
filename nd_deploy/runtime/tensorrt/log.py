"""What TensorRT says while it works, kept to be quoted."""

from __future__ import annotations

import sys
from typing import NamedTuple

ERRORS = ("INTERNAL_ERROR", "ERROR")
WARNING = "WARNING"

# What a machine without a GPU hears at each turn: that there is no driver or no device.
_NO_GPU = ("cudaError 35", "cudaError 100", "CUDA initialization failure")
# The parser says every error again as a value.
_SAID_AGAIN = "ModelImporter.cpp"
# Layers of one name, which every second call of a function makes.
_SAME_NAME = "will not be queryable"


class Message(NamedTuple):
    """One line of TensorRT's."""

    severity: str
    text: str


class Log:
    """Collects warnings and errors, and writes them to stderr.

    Attributes:
        messages: what was said so far.
    """

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def __call__(self, severity: str, text: str) -> None:
        """Take one message; called from TensorRT's threads."""
        if severity in (*ERRORS, WARNING):
            self.messages.append(Message(severity, text))
            sys.stderr.write(f"[{severity}] {text}\n")
            sys.stderr.flush()

    def errors(self, since: int = 0) -> list[str]:
        """The errors from message number `since` on, without those of a missing GPU."""
        return [
            message.text
            for message in self.messages[since:]
            if message.severity in ERRORS and not _is_noise(message.text)
        ]

    def warnings(self) -> list[str]:
        """Each warning once, in order."""
        texts = (m.text for m in self.messages if m.severity == WARNING and not _is_noise(m.text))
        return list(dict.fromkeys(texts))

    def words(self, since: int = 0, default: str = "it does not say why") -> str:
        """The errors from message number `since` on in one line."""
        return "; ".join(dict.fromkeys(self.errors(since))) or default


def without_noise(text: str) -> str:
    """A text of several lines without those that only say that there is no GPU."""
    return "\n".join(line for line in text.splitlines() if not _is_noise(line))


def _is_noise(text: str) -> bool:
    return any(mark in text for mark in (*_NO_GPU, _SAME_NAME)) or text.startswith(_SAID_AGAIN)
