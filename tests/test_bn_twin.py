"""The folded network is the network that its batch-normalised twin is after folding BN."""

import pytest
import torch

import nd_deploy
from nd_deploy import models

GEOMETRY = ("kernel_shape", "strides", "pads", "dilations", "group", "transB")


def skeleton(network):
    """Every node of the deployed model: its op, geometry, and the shapes of its parameters."""
    model = nd_deploy.run_passes(nd_deploy.export(network, torch.zeros(1, 3, 32, 32))).model
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        assert node.domain == ""
        geometry = {
            attribute.name: list(attribute.ints) or attribute.i
            for attribute in node.attribute
            if attribute.name in GEOMETRY
        }
        parameters = [shapes[name] for name in node.input if name in shapes]
        nodes.append((node.op_type, geometry, parameters))
    return nodes


@pytest.mark.parametrize(
    ("name", "head"),
    [("vgg16", "channel_deconv"), ("resnet18", "linear"), ("mobilenet_v2", "delinear")],
)
def test_the_folded_graph_is_that_of_the_batch_normalised_twin(name, head):
    deconvolved = skeleton(models.build(name, head=head))
    normalised = skeleton(models.build(name, norm="bn", head="linear"))
    assert [op for op, _, _ in deconvolved] == [op for op, _, _ in normalised]
    assert deconvolved == normalised
    convolutions = [geometry for op, geometry, _ in deconvolved if op == "Conv"]
    assert len(convolutions) >= 13
    assert all(geometry["kernel_shape"] in ([1, 1], [3, 3]) for geometry in convolutions)
