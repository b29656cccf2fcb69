"""Networks without values, from which options are told."""

import pytest
import torch

from nd_deploy import models
from nd_deploy.models.skeleton import skeleton


@pytest.mark.parametrize("name", ["digits", "mlp", "resnet18", "mobilenet_v2", "densenet121"])
@pytest.mark.parametrize("norm", ["nd", "bn"])
def test_a_skeleton_has_the_keys_shapes_and_dtypes_of_the_network(name, norm):
    def layout(network):
        return [(key, t.shape, t.dtype) for key, t in network.state_dict().items()]

    built = skeleton(name, norm=norm, num_classes=7)
    assert layout(built) == layout(models.build(name, norm=norm, num_classes=7))
    assert {t.device.type for t in built.state_dict().values()} == {"meta"}


def test_a_skeleton_draws_no_random_number():
    before = torch.get_rng_state()
    skeleton("vgg11")
    assert torch.equal(before, torch.get_rng_state())
