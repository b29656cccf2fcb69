"""A model in the precision that an engine is to have: engines take their types from the model."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from nd_deploy.runtime.tensorrt.facts import read_facts

_NARROW = ("float16", "bfloat16")


@contextlib.contextmanager
def typed_model(model: Path, precision: str | None) -> Iterator[Path]:
    """The model's file, or that of a copy cast to a narrower type.

    Args:
        model: an ONNX file.
        precision: "float16" or "bfloat16" cast a float32 model; whatever else is asked for is left
            for the parsed network to be held against.

    Yields:
        A file that exists as long as the context does, the same bytes for the same model.

    Raises:
        InputError: a weight does not fit the type, or the model has branches.
        GraphError: the file is no ONNX model.
    """
    if precision not in _NARROW or read_facts(model).precision != "float32":
        yield model
        return
    import onnx

    from nd_deploy.bundle import onnx_file
    from nd_deploy.bundle.writing import EXTERNAL_DATA_OVER
    from nd_deploy.precision import cast

    narrow = cast(onnx.load(model), precision)
    with tempfile.TemporaryDirectory(prefix="nd-deploy-") as folder:
        file = Path(folder) / f"{model.stem}.{precision}.onnx"
        onnx_file.save(narrow, file, EXTERNAL_DATA_OVER)
        yield file
