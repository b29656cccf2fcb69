"""Which provider each node was given to, and whether that is the one that was asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nd_deploy.errors import BackendError
from nd_deploy.nd.ops import OPS
from nd_deploy.runtime.ort.shape_nodes import find_shape_nodes, inlined_prefix

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

RECORD = "session.record_ep_graph_assignment_info"

_SHOWN = 5


@dataclass(frozen=True)
class PlacedNode:
    """A node as ONNX Runtime runs it: nodes of function bodies stand for themselves.

    Attributes:
        provider: where it runs.
        name: its name; empty if it has none.
        op_type: its op.
    """

    provider: str
    name: str
    op_type: str

    @property
    def is_nd(self) -> bool:
        """Whether it is an ND op, or stands in the body of one."""
        bodies = tuple(inlined_prefix(op) for op in OPS)
        return self.op_type in OPS or self.name.startswith(bodies)

    def __str__(self) -> str:
        return f"{self.name or 'a node without a name'} ({self.op_type})"


def placed_nodes(session: InferenceSession) -> list[PlacedNode]:
    """Every node of a session that was created with RECORD set.

    Args:
        session: of an ONNX Runtime that `nd_deploy.compat.ort.tells_placement`.
    """
    return [
        PlacedNode(part.ep_name, node.name, node.op_type)
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
    ]


def count_nodes(nodes: Iterable[PlacedNode]) -> dict[str, int]:
    """How many nodes each provider runs."""
    return dict(sorted(Counter(node.provider for node in nodes).items()))


def require_plugins(nodes: Iterable[PlacedNode], model: ModelProto) -> None:
    """Refuse a session that computes by function bodies what was left to a plugin library.

    ONNX Runtime writes bodies out before TensorRT sees the model, unless it knows the op itself.

    Args:
        nodes: of a session that was given a plugin library.
        model: that the session was created from; weights may be absent.

    Raises:
        BackendError: nodes that the library could compute are no longer there.
    """
    asked = Counter(n.op_type for n in model.graph.node if n.op_type in OPS)
    left = Counter(node.op_type for node in nodes)
    by_body = [op for op in asked if OPS[op].plugin and left[op] < asked[op]]
    if by_body:
        raise BackendError(
            f"ONNX Runtime runs the function body of {', '.join(by_body)}, and not the plugin "
            "library's",
            "convert the network with --target ort-tensorrt, or drop --plugin",
        )


def require_placement(nodes: Sequence[PlacedNode], asked: Sequence[str], model: ModelProto) -> None:
    """Refuse a session that computes somewhere else than it was asked to.

    What computes shapes stays on the CPU beside any provider, because shapes are needed there.

    Args:
        nodes: of the session.
        asked: the providers that nodes may run on.
        model: that the session was created from; weights may be absent.

    Raises:
        BackendError: a node that computes with numbers runs elsewhere; those of ND layers are
            named first.
    """
    elsewhere = [node for node in nodes if node.provider not in asked]
    if not elsewhere:
        return
    places = find_shape_nodes(model).without((node.op_type, node.name) for node in elsewhere)
    strays = [elsewhere[place] for place in places]
    if not strays:
        return
    strays.sort(key=lambda node: not node.is_nd)
    shown = ", ".join(map(str, strays[:_SHOWN]))
    more = f" and {len(strays) - _SHOWN} more" if len(strays) > _SHOWN else ""
    where = ", ".join(sorted({node.provider for node in strays}))
    raise BackendError(
        f"the model cannot run on {', '.join(asked)} alone: ONNX Runtime gives {shown}{more} to "
        f"{where}",
        "no kernel of the provider takes them; run the model on another runtime"
        + (
            ", or convert the network with --target inlined"
            if any(node.is_nd for node in strays)
            else ""
        ),
    )
