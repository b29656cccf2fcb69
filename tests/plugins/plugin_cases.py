"""Fields and shapes that each plugin op accepts."""

import numpy as np
from v3 import FLOAT, desc, profile

FAST, CHANNEL = "NDFastDeconvDynamic", "NDChannelDeconvDynamic"
# Inputs by op.
FROZEN = {
    "NDChannelDeconv": 3,
    "NDChannelDeconvRelu": 3,
    "NDChannelDeconvLeftover": 5,
    "NDChannelDeconvLeftoverRelu": 5,
}


def ints(*values):
    return np.array(values, np.int32)


def one_float(value):
    return np.array([value], np.float32)


FIELDS = {
    **{op: {} for op in FROZEN},
    FAST: {
        "kernel_shape": ints(3, 2),
        "pads": ints(1, 0, 2, 1),
        "dilations": ints(1, 2),
        "group": ints(1),
        "block": ints(4),
        "n_iter": ints(5),
        "sampling_strides": ints(6, 3),
        "eps": one_float(1e-5),
    },
    CHANNEL: {
        "block": ints(4),
        "n_iter": ints(5),
        "sampling_stride": ints(3),
        "eps": one_float(1e-2),
    },
}
INPUTS = FROZEN | {FAST: 3, CHANNEL: 1}
# Which input each output has the shape of.
SHAPE_OF = {op: [0] for op in INPUTS} | {FAST: [1, 2]}
# Shapes that fit the fields above, and a batch that is open.
SHAPES = {
    **{op: [(-1, 9, 5, 5), (3,), (3, 3), (1,), (1,)][:count] for op, count in FROZEN.items()},
    FAST: [(-1, 8, 9, 9), (6, 8, 3, 2), (6,)],
    CHANNEL: [(-1, 9, 5, 5)],
}
ALL = list(FIELDS)
BOTH_DYNAMIC = [(op, name) for op in (FAST, CHANNEL) for name in FIELDS[op]]


def known(shape, batch=2):
    return [batch if size == -1 else size for size in shape]


def descs(op, x_kind=FLOAT, shapes=None):
    """Descriptions of the inputs and the outputs at run time."""
    shapes = [known(shape) for shape in (SHAPES[op] if shapes is None else shapes)]
    inputs = [desc(shape, x_kind if n == 0 else FLOAT) for n, shape in enumerate(shapes)]
    return inputs, [desc(shapes[source], x_kind) for source in SHAPE_OF[op]]


def profiles(op, shapes=None, batch=2):
    """The same at build time."""
    shapes = SHAPES[op] if shapes is None else shapes
    inputs = [profile(shape, known(shape, batch)) for shape in shapes]
    return inputs, [inputs[source] for source in SHAPE_OF[op]]
