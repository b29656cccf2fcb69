"""A tritonserver on this machine's CPU: the one that the wheel of nvidia-pytriton carries.

It is version 2.51 (24.10), old enough that nothing but a test on the loopback may run it. It has
Triton's core, which checks configurations, and its Python backend; not that of ONNX Runtime.
"""

import ctypes.util
import os
import platform
import shutil
import sys
import zipfile
from pathlib import Path

from free_ports import free_ports
from logged_process import LoggedProcess, wait_for_port

WHEEL = "TRITON_WHEEL"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

# Tensors go by DLPack, since the backend's own arrays are those of numpy 1.
WRAPPER = """
import sys

sys.path += {path!r}

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime
import triton_python_backend_utils as utils


class TritonPythonModel:
    def initialize(self, args):
        path = os.path.join(args["model_repository"], args["model_version"], "model.onnx")
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.inputs = [port.name for port in self.session.get_inputs()]
        self.outputs = [port.name for port in self.session.get_outputs()]

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        tensors = {{name: utils.get_input_tensor_by_name(request, name) for name in self.inputs}}
        feeds = {{name: np.from_dlpack(tensor) for name, tensor in tensors.items()}}
        arrays = self.session.run(self.outputs, feeds)
        pairs = zip(self.outputs, arrays)
        return utils.InferenceResponse([utils.Tensor.from_dlpack(*pair) for pair in pairs])
"""


def why_absent():
    """Why there is no server to test with, or None."""
    wheel = os.environ.get(WHEEL)
    if wheel is None:
        return (
            f"needs {WHEEL}, the wheel of a tritonserver: pip download --no-deps "
            "nvidia-pytriton==0.7.0, into a folder outside of this one"
        )
    if not Path(wheel).is_file():
        return f"{WHEEL}={wheel} is no file"
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return "the server in the wheel is for Linux on x86-64"
    return None


def why_it_runs_no_python():
    """Why the server's Python backend cannot run here, or None."""
    if ctypes.util.find_library(f"python{PYTHON}") is None:
        return f"the Python backend needs the distribution's libpython{PYTHON}"
    return None


def unpack(folder):
    """Unpack the wheel into `folder`, and put the backend together."""
    with zipfile.ZipFile(os.environ[WHEEL]) as wheel:
        wheel.extractall(folder)
    server = folder / "pytriton/tritonserver"
    stub = server / f"python_backend_stubs/{PYTHON}/triton_python_backend_stub"
    if stub.is_file():
        shutil.copy(stub, server / "backends/python")
        (server / "backends/python" / stub.name).chmod(0o755)
    (server / "bin/tritonserver").chmod(0o755)
    return folder


def wrap(model):
    """Let the Python backend run an exported model by ONNX Runtime, the rest left as it is."""
    config = model / "config.pbtxt"
    text = config.read_text()
    for old, new in (
        ('backend: "onnxruntime"', 'backend: "python"'),
        ('platform: "onnxruntime_onnx"', ""),
        ('default_model_filename: "model.onnx"', 'default_model_filename: "model.py"'),
    ):
        assert old in text
        text = text.replace(old, new)
    config.write_text(text)
    packages = [path for path in sys.path if path.endswith("-packages")]
    (model / "1/model.py").write_text(WRAPPER.format(path=packages))


class Triton(LoggedProcess):
    """A server that runs as long as the block does."""

    def __init__(self, unpacked, flags):
        self.http, self.grpc, self.metrics = free_ports(3)
        command = [
            unpacked / "pytriton/tritonserver/bin/tritonserver",
            *flags,
            "--http-address=127.0.0.1",
            "--grpc-address=127.0.0.1",
            "--metrics-address=127.0.0.1",
            f"--http-port={self.http}",
            f"--grpc-port={self.grpc}",
            f"--metrics-port={self.metrics}",
            "--exit-on-error=false",
            f"--backend-directory={unpacked / 'pytriton/tritonserver/backends'}",
        ]
        # The backend is linked with the distribution's Python, whose library it has to find.
        environment = {
            "PATH": "/usr/bin:/bin",
            "LD_LIBRARY_PATH": str(unpacked / "nvidia_pytriton.libs"),
        }
        super().__init__(command, environment, ready="Started Metrics Service")

    def __enter__(self):
        super().__enter__()
        # It says that it has started a moment before it listens.
        for port in (self.http, self.metrics):
            wait_for_port(port)
        return self
