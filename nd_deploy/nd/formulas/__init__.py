"""The formulas that published ND layers compute in eval, by definition.

Each formula whitens the *activations* and then applies the layer's own weight. That is the
definition, and it is independent of the fold, which moves D into the weight instead; a layer is
recognised by computing one of them (`nd_deploy.nd.recognise`).

A new variant is one entry in the family that it belongs to: what a module must have, what it then
computes, and the adapter that exports it. Class names are never looked at. docs/adding-a-layer.md
walks through one.
"""

from collections.abc import Sequence

from nd_deploy.nd.formulas.base import D_BUFFERS, Formula
from nd_deploy.nd.formulas.channels import CHANNELS
from nd_deploy.nd.formulas.convolution import CONVOLUTIONS
from nd_deploy.nd.formulas.linear import LINEARS
from nd_deploy.nd.formulas.transposed import TRANSPOSED

FORMULAS: Sequence[Formula] = (*CONVOLUTIONS, *TRANSPOSED, *LINEARS, *CHANNELS)
"""In the order in which they are tried; the first that a layer computes is taken."""

__all__ = ["D_BUFFERS", "FORMULAS", "Formula"]
