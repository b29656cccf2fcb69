"""Small models for TensorRT, and what builds them."""

import importlib.util
import shutil
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from nd_deploy.nd import dialect
from nd_deploy.runtime.tensorrt.building.build import build_engine
from nd_deploy.runtime.tensorrt.building.request import BuildRequest
from nd_deploy.runtime.tensorrt.facts import read_facts
from nd_deploy.runtime.tensorrt.profile import Range
from nd_deploy.runtime.tensorrt.shapes import make_profiles

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed"
)
needs_compiler = pytest.mark.skipif(
    shutil.which("cc") is None, reason="there is no C compiler to make a broken library with"
)

_HEADER = '<ir_version: 10, opset_import: ["": 18, "nd_deploy": 1, "acme": 1]>\n'
# A layer that folded, then two that did not, the second within a function body's own names.
_ND = """
network (float[batch, 8, 4, 4] x) => (float[batch, 8, 4, 4] y)
<float[8, 8, 1, 1] w, float[4] m1, float[4, 4] D1, float[3] m2, float[3, 3] D2,
 float[1] lm, float[1] ls>
{
    [stem] x_wide = Conv <kernel_shape = [1, 1]> (x, w)
    [norm] z = nd_deploy.NDChannelDeconv (x_wide, m1, D1)
    [act] r = Relu (z)
    [last] y = nd_deploy.NDChannelDeconvLeftover (r, m2, D2, lm, ls)
}
"""


def from_text(text, functions=""):
    """A model whose parameters get random values."""
    model = parser.parse_model(_HEADER + text + functions)
    rng = np.random.default_rng(0)
    computed = {name for node in model.graph.node for name in node.output}
    for info in [v for v in model.graph.value_info if v.name not in computed]:
        shape = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        values = rng.normal(size=shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, info.name))
        model.graph.value_info.remove(info)
    return model


def nd_model(bodies=True):
    """A network in which two ND layers are left, the first one as layer "blocks.0.norm"."""
    model = from_text(_ND)
    dialect.attach_functions(model)
    model.graph.node[1].metadata_props.add(key="nd_deploy.layers", value="blocks.0.norm")
    if not bodies:
        del model.functions[:]
    return model


def saved(model, folder, name="model.onnx"):
    path = Path(folder) / name
    onnx.save(model, path)
    return path


def request_for(path, batch=(1, 2, 4), **changes):
    """A request to TensorRT-RTX, with one profile."""
    batches = [Range(*((size,) for size in batch))] if batch else []
    changes = {
        "library": "tensorrt_rtx",
        "profiles": make_profiles(read_facts(path).inputs, batches),
    } | changes
    return BuildRequest(path, **changes)


def built(model, folder, batch=(1, 2, 4), report=lambda line: None, **changes):
    """Build a model that is in memory."""
    return build_engine(request_for(saved(model, folder), batch, **changes), report)


def library(source, folder, name="libbroken.so"):
    """Compile C into a shared library."""
    code, path = Path(folder) / "broken.c", Path(folder) / name
    code.write_text(source)
    compiler = sysconfig.get_config_var("CC") or "cc"
    command = [shutil.which(compiler.split()[0]) or "cc", "-shared", "-fPIC", code, "-o", path]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    return path


def on_load(statement):
    """A library that does something when it is loaded."""
    return (
        "#include <signal.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n"
        f"__attribute__((constructor)) static void load(void) {{ {statement} }}\n"
    )
