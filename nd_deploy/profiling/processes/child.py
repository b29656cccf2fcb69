"""The other side of `nd_deploy.profiling.processes.worker`: `python -m` this, with a socket."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
from dataclasses import asdict
from typing import Any

from nd_deploy.child_process import error_fields
from nd_deploy.errors import NdDeployError
from nd_deploy.profiling.layers import layer_times
from nd_deploy.profiling.processes.channel import Channel, Message
from nd_deploy.profiling.processes.jobs import job_from_fields
from nd_deploy.profiling.subjects.base import Job, Subject
from nd_deploy.profiling.subjects.host import resident_bytes
from nd_deploy.profiling.subjects.opening import open_subject
from nd_deploy.profiling.turns import measure_undisturbed
from nd_deploy.profiling.work.peaks import measure_peaks

PROCESS = "process"
"""The key of `Subject.memory` for all of a process's resident memory."""

_PR_SET_PDEATHSIG = 1  # of Linux's <sys/prctl.h>


def main() -> None:
    """Answer the process that started this one, until it hangs up."""
    channel, parent = int(sys.argv[1]), int(sys.argv[2])
    _die_with(parent)
    # Whoever sends Ctrl-C to all processes there are means the parent, which ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.closing(Channel(socket.socket(fileno=channel))) as connection:
        serve(connection)


def serve(channel: Channel) -> None:
    """Answer questions about one subject until the other side hangs up.

    A failure that is not the user's to mend ends the process, and its traceback goes to the log.
    """
    answers = _Answers()
    while (message := channel.receive()) is not None:
        question = getattr(answers, message.fields["question"])
        try:
            result, arrays = question(message)
        except NdDeployError as error:
            channel.send(Message({"error": error_fields(error)}))
        else:
            channel.send(Message({"result": result}, arrays))


class _Answers:
    """One method a question."""

    _subject: Subject

    def open(self, message: Message) -> Message:
        self._subject = open_subject(_job(message))
        return Message(asdict(self._subject.receipt))

    def layers(self, message: Message) -> Message:
        times = layer_times(_job(message), message.fields["runs"], message.fields["nd_layers"])
        return Message({"layers": [asdict(time) for time in times]})

    def peaks(self, message: Message) -> Message:
        job, fields = _job(message), message.fields
        peaks = measure_peaks(job, fields["dtype"], open_subject, device=fields["device"])
        return Message(asdict(peaks))

    def memory(self, _message: Message) -> Message:
        return Message({**self._subject.memory, PROCESS: resident_bytes()})

    def outputs(self, _message: Message) -> Message:
        return Message({}, self._subject.outputs())

    def measure(self, message: Message) -> Message:
        return Message({}, measure_undisturbed(self._subject, message.fields["iterations"]))

    def close(self, _message: Message) -> Message:
        self._subject.close()
        return Message({})


def _job(message: Message) -> Job:
    """What is to be opened, in the place of the process that asks."""
    os.chdir(message.fields["folder"])
    sys.path[:] = message.fields["import_paths"]
    return job_from_fields(message.fields["job"], message.arrays)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, however that ends.

    The kernel means the thread that started it, to which the subject belongs anyway.
    """
    prctl: Any = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()


if __name__ == "__main__":
    main()
