"""A process of somebody else's that runs as long as a block, and whose output says how it fares."""

import os
import queue
import signal
import socket
import subprocess
import threading
import time

SECONDS = 120


class LoggedProcess:
    """A server.

    Args:
        command: what to run.
        environment: its whole environment.
        ready: what it prints once it is.
    """

    def __init__(self, command, environment, ready):
        self._command = command
        self._environment = environment
        self._ready = ready
        self._log = queue.Queue()
        self.lines = []

    def __enter__(self):
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self._wait_until_ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_):
        self._end()

    def _end(self):
        self._process.terminate()
        try:
            self._process.wait(SECONDS)
        finally:
            self._kill_group()
            self._reader.join(SECONDS)

    def _kill_group(self):
        """Whatever children it has left."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def _read(self):
        for line in self._process.stdout:
            self._log.put(line)
        self._log.put(None)

    def _wait_until_ready(self):
        while True:
            try:
                line = self._log.get(timeout=SECONDS)
            except queue.Empty:
                line = None
            assert line is not None, "".join(self.lines)
            self.lines.append(line)
            if self._ready in line:
                return


def wait_for_port(port):
    """Return once somebody listens there, or fail after SECONDS."""
    end = time.monotonic() + SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < end, f"nobody listens on {port}"
            time.sleep(0.02)
        else:
            return
