"""A model in the form that a target reads, and back in the form that runs anywhere."""

from __future__ import annotations

import onnx
from onnx import inliner

from nd_deploy.errors import GraphError
from nd_deploy.nd import dialect
from nd_deploy.targets.target import ORT_DOMAIN, Target

_OURS = (dialect.DOMAIN, ORT_DOMAIN)


def fit(model: onnx.ModelProto, target: Target) -> onnx.ModelProto:
    """Give a model the form that `target` reads.

    Args:
        model: in the portable form, as the passes store it; may be changed, and is returned where
            nothing has to be written anew.
        target: who is to read it.

    Returns:
        The model in that form.

    Raises:
        GraphError: an ND node could not be written out.
    """
    if not any(True for _ in dialect.dialect_nodes(model)):
        return model
    if target.domain is None:
        return _written_out(model)
    if target.domain != dialect.DOMAIN:
        _move(model, dialect.DOMAIN, target.domain)
    if not target.bodies:
        # An op that no plugin has is its body everywhere.
        kept = [
            f for f in model.functions if f.domain not in _OURS or not dialect.OPS[f.name].plugin
        ]
        del model.functions[:]
        model.functions.extend(kept)
    return model


def portable(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give a model of any target the form that ONNX Runtime and the passes read, in place.

    What was written out stays written out.

    Args:
        model: from a bundle.

    Returns:
        The same object.
    """
    _move(model, ORT_DOMAIN, dialect.DOMAIN)
    dialect.attach_functions(model)
    return model


def _written_out(model: onnx.ModelProto) -> onnx.ModelProto:
    flat = inliner.inline_local_functions(model)
    left = sorted({node.op_type for node in dialect.dialect_nodes(flat)})
    if left:
        raise GraphError(
            f"onnx.inliner leaves {', '.join(left)} in the model",
            "a function's opset has to be the model's own: convert the network again, or choose "
            "another target",
        )
    kept = [o for o in flat.opset_import if o.domain not in _OURS]
    del flat.opset_import[:]
    flat.opset_import.extend(kept)
    return flat


def _move(model: onnx.ModelProto, source: str, target: str) -> None:
    """Move ND nodes, their bodies and their import from one domain to another, in place."""
    ours = [n for n in dialect.nodes_of(model, source) if n.op_type in dialect.OPS]
    for node in ours:
        node.domain = target
    for function in model.functions:
        if function.domain == source and function.name in dialect.OPS:
            function.domain = target
    if not ours:
        return
    for imported in model.opset_import:
        if imported.domain == source:
            imported.domain = target
