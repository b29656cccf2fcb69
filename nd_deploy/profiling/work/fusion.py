"""Which nodes run as one layer, and what a layer moves to and from memory.

A model of the fusions that every runtime does, and no more:

* what a node reads is read from memory once by it, whatever the batch; so are weights;
* what it gives is written to memory once, if anything reads it;
* an elementwise node joins the layer that gives one of its inputs, if nothing else reads that and
  it has as many elements as the node gives; what passes between them stays on the chip, and the
  node's other inputs are read; of several such inputs the one that was computed last is taken;
* what only gives the same data another shape or name costs nothing, and is looked through;
* Gather and Slice read as much of their data as they give.

Caches are not modelled: a network that fits into them moves less.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from nd_deploy.profiling.work.op_kinds import CASTS, ELEMENTWISE, PICKS, VIEWS
from nd_deploy.profiling.work.step import Step


@dataclass
class Layer:
    """Nodes that run as one.

    Attributes:
        steps: in order, the elementwise ones after the first.
        reads: bytes that it reads, by tensor.
        writes: bytes that it writes, by tensor.
        place: of its last node among all nodes.
    """

    steps: list[Step] = field(default_factory=list)
    reads: dict[str, float] = field(default_factory=dict)
    writes: dict[str, float] = field(default_factory=dict)
    place: int = 0

    @property
    def bytes(self) -> float:
        """What it moves."""
        return sum(self.reads.values()) + sum(self.writes.values())

    def gives_only(self, name: str) -> bool:
        """Whether it is open to what reads this tensor: that is all it gives, and it is no loop."""
        return list(self.writes) == [name] and self.steps[0].body is None


def is_view(step: Step) -> bool:
    """Whether a node only gives the same data another shape or name."""
    op = step.node.op_type if step.node.domain == "" else None
    if op in CASTS and step.is_known:
        return step.input(0).element_type == step.output().element_type
    return op in VIEWS


def fuse(steps: Sequence[Step], outputs: Collection[str], left_out: Collection[str]) -> list[Layer]:
    """Gather the steps of a graph into layers.

    Args:
        steps: in order.
        outputs: the names of the graph's outputs, which are written whatever else reads them.
        left_out: the first outputs of steps that are in no layer, those of unknown shapes among
            them.

    Returns:
        The layers in the order of their first steps.
    """
    sources = _sources(steps)
    readers = _count_readers(steps, outputs, sources)
    layers: list[Layer] = []
    makers: dict[str, Layer] = {}
    for place, step in enumerate(steps):
        if is_view(step) or step.node.output[0] in left_out:
            continue
        reads = _reads(step, sources)
        joined = _joined(step, sources, readers, makers)
        if joined is None:
            layers.append(Layer())
        layer = layers[-1] if joined is None else makers[joined]
        if joined is not None:
            del layer.writes[joined], reads[joined]
        layer.steps.append(step)
        layer.place = place
        layer.reads |= {n: max(size, layer.reads.get(n, 0)) for n, size in reads.items()}
        layer.writes |= _writes(step, readers)
        makers.update(dict.fromkeys(step.node.output, layer))
    return layers


def _sources(steps: Sequence[Step]) -> dict[str, str]:
    """For each view the tensor whose data it shows."""
    sources: dict[str, str] = {}
    for step in filter(is_view, steps):
        source = sources.get(step.reads[0], step.reads[0])
        sources.update(dict.fromkeys(step.node.output, source))
    return sources


def _count_readers(
    steps: Sequence[Step], outputs: Collection[str], sources: Mapping[str, str]
) -> Counter[str]:
    readers = Counter({sources.get(name, name) for name in outputs})
    for step in steps:
        if not is_view(step):
            readers.update({sources.get(name, name) for name in step.reads if name})
    return readers


def _joined(
    step: Step,
    sources: Mapping[str, str],
    readers: Mapping[str, int],
    makers: Mapping[str, Layer],
) -> str | None:
    """The tensor through which an elementwise step joins the layer that gives it."""
    if step.node.op_type not in ELEMENTWISE:
        return None
    names = [
        sources.get(name, name)
        for name, tensor in zip(step.reads, step.inputs, strict=True)
        if tensor is not None and tensor.size == step.output().size
    ]
    fitting = [n for n in names if readers[n] == 1 and n in makers and makers[n].gives_only(n)]
    return max(fitting, key=lambda name: makers[name].place, default=None)


def _reads(step: Step, sources: Mapping[str, str]) -> dict[str, float]:
    """Bytes by tensor."""
    reads: dict[str, float] = {}
    for index, (name, tensor) in enumerate(zip(step.reads, step.inputs, strict=True)):
        if tensor is not None:
            part = index == 0 and step.node.op_type in PICKS
            size = min(tensor.bytes, step.output().bytes) if part else tensor.bytes
            source = sources.get(name, name)
            reads[source] = max(size, reads.get(source, 0))
    return reads


def _writes(step: Step, readers: Mapping[str, int]) -> dict[str, float]:
    outputs = zip(step.node.output, step.outputs, strict=True)
    return {name: tensor.bytes for name, tensor in outputs if tensor is not None and readers[name]}
