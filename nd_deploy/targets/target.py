"""The hosts that a model can be written for, and what each of them does with an ND node.

A node of the dialect carries a function body and says where its TensorRT plugin is. ONNX Runtime
runs the body; TensorRT from 10.7 on takes the plugin where it is registered and the body where not.
So one file, "portable", serves them all, and the others are exceptions:

* TensorRT up to 10.6, which is that of JetPack 6, prefers a body whether or not the plugin is
  there, so that its file has none;
* ONNX Runtime's TensorRT provider knows plugins by the domain "trt.plugins";
* runtimes without functions, and TensorRT-RTX's provider, get the bodies written out.

A model in which everything has folded has no such node, and is the same file for every target.
"""

from __future__ import annotations

from dataclasses import dataclass

from nd_deploy.errors import InputError
from nd_deploy.nd.ops import DOMAIN

ORT_DOMAIN = "trt.plugins"


@dataclass(frozen=True)
class Target:
    """A kind of host.

    Attributes:
        name: what it is called on the command line.
        hosts: who reads it, in words.
        domain: of the ND nodes; None where they are written out.
        bodies: whether ND nodes carry their function bodies.
    """

    name: str
    hosts: str
    domain: str | None = DOMAIN
    bodies: bool = True

    @property
    def takes_plugins(self) -> bool:
        """Whether the host can run an ND node by the plugin."""
        return self.domain is not None


TARGETS = {
    target.name: target
    for target in (
        Target("portable", "ONNX Runtime, TensorRT from 10.7 on, TensorRT-RTX"),
        # The same form; a name of its own because it is where a plugin that wins becomes default.
        Target("tensorrt", "TensorRT from 10.7 on"),
        Target("tensorrt<=10.6", "TensorRT up to 10.6 (JetPack 6), with the plugin", bodies=False),
        Target("ort-tensorrt", "ONNX Runtime's TensorRT provider, with the plugin", ORT_DOMAIN),
        Target("inlined", "any runtime: standard ops alone", domain=None),
    )
}


def find_target(name: str) -> Target:
    """The target of that name.

    Raises:
        InputError: there is none.
    """
    if name not in TARGETS:
        raise InputError(
            f"there is no target {name!r}", f"choose one of {', '.join(map(repr, TARGETS))}"
        )
    return TARGETS[name]
