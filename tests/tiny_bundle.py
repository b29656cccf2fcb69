"""What a bundle of a tiny network is made of."""

import numpy as np
from onnx import numpy_helper, parser

from nd_deploy.fold.certificate import Certificate
from nd_deploy.parity.report import Gate, ParityReport
from nd_deploy.passes.base import Action, Decision

# Its scores are the sum of the pixels times 1, 2 and -1.
MODEL = """
<ir_version: 10, opset_import: ["": 20]>
net (float[BATCH, CHANNELS, 2, 2] image) => (float[BATCH, 3] logits)
{
    flat = Flatten (image)
    logits = MatMul (flat, weight)
}
"""


def model(batch="batch", channels=1):
    proto = parser.parse_model(MODEL.replace("BATCH", batch).replace("CHANNELS", str(channels)))
    weight = np.tile(np.array([1, 2, -1], np.float32), (4 * channels, 1))
    proto.graph.initializer.append(numpy_helper.from_array(weight, "weight"))
    return proto


def decisions(count=3):
    folded = [
        Decision(
            f"layers.{i}",
            "NDFastDeconv",
            Action.FOLDED,
            "D whitens what the convolution reads",
            "fold_fast_deconv",
            (f"layers.{i}",),
            (Certificate(4.5, 2.0, 32752.0, 5.5, 3e-8), Certificate(1.0, 9.0, 7000.0, 1.5, 1e-8)),
        )
        for i in range(count)
    ]
    kept = Decision("norm5", "NDChannelDeconv", Action.LOWERED, "a Relu is next", "lower", ("n",))
    return [*folded, kept]


def parity(error=1e-14):
    return ParityReport(
        [
            Gate("fold", "a with b", error, 1e-10, "rounding"),
            Gate("backend", "c with d", 1e-7, 2e-7, "2 x PyTorch's", details={"tf32": False}),
        ],
        1.0,
        4,
    )
