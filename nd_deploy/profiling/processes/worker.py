"""A process that answers questions about one contestant, until it is ended or dies."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nd_deploy.child_process import error_of, import_paths, last_said, signal_name
from nd_deploy.errors import BackendError
from nd_deploy.profiling.processes.channel import Channel, Message

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MODULE = "nd_deploy.profiling.processes.child"


class Worker:
    """A running process of `nd_deploy.profiling.processes.child`.

    Args:
        name: of its contestant, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._asked = False
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="nd-deploy-"))
            self._log = Path(folder) / "log.txt"
            ours, theirs = socket.socketpair()
            with theirs:
                self._channel = stack.enter_context(contextlib.closing(Channel(ours)))
                self._process = _start(theirs.fileno(), self._log)
            stack.callback(self._kill)
            self._held = stack.pop_all()

    @property
    def listens(self) -> bool:
        """Whether it is there, and not still at work on a question whose asker gave up."""
        return not self._asked and self._process.poll() is None

    def ask(
        self,
        question: str,
        fields: Mapping[str, Any] | None = None,
        arrays: Mapping[str, NDArray[Any]] | None = None,
    ) -> Message:
        """Ask it something, and wait for the answer.

        Args:
            question: one that the process knows.
            fields: that go with it, JSON-ready.
            arrays: that go with it.

        Raises:
            NdDeployError: the one that it raised.
            BackendError: something killed it.
            RuntimeError: it failed by a fault of nd-deploy.
        """
        self._asked = True
        with contextlib.suppress(ConnectionError):  # what it died of is told below
            self._channel.send(Message({"question": question, **(fields or {})}, arrays or {}))
        answer = self._channel.receive()
        if answer is None:
            raise self._ending()
        self._asked = False
        error = answer.fields.get("error")
        if error is not None:
            raise error_of(error)
        return Message(answer.fields["result"], answer.arrays)

    def end(self) -> None:
        """End it, whatever it is doing."""
        self._held.close()

    def _kill(self) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _ending(self) -> BackendError | RuntimeError:
        code = self._process.wait()
        log = self._log.read_text(encoding="utf-8", errors="replace").strip()
        if code >= 0:
            return RuntimeError(f"the process of {self._name} ended with exit code {code}:\n{log}")
        return BackendError(
            f"the process of {self._name} was killed by {signal_name(-code)}; the last that it "
            f"said:\n{last_said(log)}",
            "usually memory has run out: free some, or profile smaller batches"
            if code == -signal.SIGKILL
            else "'nd-deploy doctor' tells what is wrong with the runtime's libraries, and "
            "'nd-deploy run' with --runtime whether the model runs there at all",
        )


def _start(channel: int, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", _MODULE, str(channel), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            pass_fds=(channel,),
            env={**os.environ, **import_paths()},
            # Python looks for modules where it starts, and this folder has none.
            cwd=log.parent,
            # Ctrl-C is for this process, which then ends the other.
            start_new_session=True,
        )
