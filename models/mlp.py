"""The multilayer perceptron of the paper's MNIST and Fashion-MNIST experiments."""

from torch import Tensor, nn

from nd_deploy.nd.layers import ChannelDeconv

_PIXELS = 784
_HIDDEN = 128


class MLP(nn.Module):
    """Three bias-free linear layers with sigmoids between them.

    Their inputs are whitened; in the batch-normalised twin the two hidden layers are normalised.

    Args:
        num_classes: how many logits.
        norm: "nd" or "bn".
        block_fc: of the ChannelDeconvs.
        eps: of the ChannelDeconvs.
    """

    def __init__(self, num_classes: int, norm: str, block_fc: int, eps: float) -> None:
        super().__init__()

        def hidden(outputs: int) -> nn.Sequential:
            linear = nn.Linear(_HIDDEN, outputs, bias=False)
            if norm == "bn":
                return nn.Sequential(nn.BatchNorm1d(_HIDDEN), nn.Sigmoid(), linear)
            return nn.Sequential(nn.Sigmoid(), ChannelDeconv(block_fc, eps), linear)

        first: list[nn.Module] = [nn.Linear(_PIXELS, _HIDDEN, bias=False)]
        if norm == "nd":
            first.insert(0, ChannelDeconv(block_fc, eps))
        self.layers = nn.ModuleList([nn.Sequential(*first), hidden(_HIDDEN)])
        self.linear = hidden(num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 1, 28, 28) to logits (N, num_classes)."""
        x = x.flatten(1)
        for layer in (*self.layers, self.linear):
            x = layer(x)
        return x


def mlp(num_classes: int, norm: str, block_fc: int, eps: float) -> MLP:
    """Builds the network; the options are those of `MLP`."""
    return MLP(num_classes, norm, block_fc, eps)
