"""Networks for handwritten digits and clothes."""

from ..info import ModelInfo

SMALL = (
    ModelInfo(
        "digits",
        "digits:digits",
        (1, 8, 8),
        {
            "num_classes": 10,
            "norm": "nd",
            "block": 16,
            "block_fc": 32,
            "eps": 1e-5,
            "n_iter": 5,
            "sampling_stride": 1,
        },
        "scikit-learn's handwritten digits",
        "made for the demo: one of every ND layer, and every kind of FastDeconv",
    ),
    ModelInfo(
        "mlp",
        "mlp:mlp",
        (1, 28, 28),
        {"num_classes": 10, "norm": "nd", "block_fc": 32, "eps": 1e-2},
        "MNIST, Fashion-MNIST",
        "Ye et al., 2020; 784-128-128-10",
    ),
)
