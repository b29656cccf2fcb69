"""The naive export is PyTorch's network, and its nodes tell which module they come from."""

import onnx
import pytest
import torch
from small_networks import Network, error, in_float64, in_onnxruntime, small_network, trained
from torch import nn

from nd_deploy.errors import ExportError
from nd_deploy.naive_export import export_naively
from nd_deploy.nd.layers import FastDeconv

X = torch.randn(3, 3, 9, 11, generator=torch.Generator().manual_seed(1))


class Counting(nn.Module):
    """Asks in eval mode too whether it was trained, as the authors' ChannelDeconv does."""

    def __init__(self):
        super().__init__()
        self.register_buffer("num_batches_tracked", torch.tensor(3))

    def forward(self, x):
        return x * 2 if self.num_batches_tracked == 3 else x


def exported(network, path, x=X, **options):
    export_naively(network, {"image": x.numpy()}, path / "naive.onnx", **options)
    return path / "naive.onnx"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    network = small_network()
    return network, exported(network, tmp_path_factory.mktemp("naive"))


def test_outputs_are_those_of_pytorch_at_any_batch(small):
    network, path = small
    for batch in (1, 3):
        (output,) = in_onnxruntime(path, X[:batch])
        assert error(output, in_float64(network, X[:batch])) < 1e-6
    assert [port.name for port in onnx.load(path).graph.input] == ["image"]
    assert network.training


def test_every_node_is_called_after_its_module(small):
    network, path = small
    nodes = onnx.load(path).graph.node
    owners = [node.name.rpartition("/")[0] for node in nodes]
    assert len({node.name for node in nodes}) == len(nodes)
    assert [owner for index, owner in enumerate(owners) if owner not in owners[:index]] == [
        name for name, _ in network.named_children()
    ]
    kinds = {(owner, node.op_type) for owner, node in zip(owners, nodes, strict=True)}
    assert {("0", "Conv"), ("1", "Relu"), ("4", "MatMul"), ("7", "Gemm")} <= kinds


def test_several_inputs_keep_their_order_and_what_forward_computes_itself_has_no_module(tmp_path):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.whitened = trained(FastDeconv(3, 3, 1), (3, 9, 11))

        def forward(self, image, shift):
            return self.whitened(image) - shift

    network, shift = Two(), X[:, :1] + 5
    inputs = {"left": X.numpy(), "right": shift.numpy()}
    export_naively(network, inputs, tmp_path / "two.onnx")
    graph = onnx.load(tmp_path / "two.onnx").graph
    assert [port.name for port in graph.input] == ["left", "right"]
    assert {node.name.rpartition("/")[0] for node in graph.node} == {"", "whitened"}
    (output,) = in_onnxruntime(tmp_path / "two.onnx", X, shift)
    assert error(output, in_float64(network, X, shift)) < 1e-6


def test_no_file_of_the_exporting_machine_is_named(small):
    content = small[1].read_bytes()
    assert b".py" not in content
    assert b"stack_trace" not in content


def test_a_layer_that_branches_on_its_count_of_batches_is_exported(tmp_path):
    network = nn.Sequential(trained(FastDeconv(3, 8, 3), (3, 9, 11)), Counting())
    counted = network[1].num_batches_tracked
    (output,) = in_onnxruntime(exported(network, tmp_path), X)
    assert error(output, in_float64(network, X)) < 1e-6
    assert network[1].num_batches_tracked is counted


def test_a_network_of_one_batch_alone_is_exported_with_that(tmp_path):
    network = nn.Sequential(FastDeconv(3, 4, 3), nn.Flatten(0), nn.Unflatten(0, (3, -1)))
    trained(network[0], (3, 9, 11))
    path = exported(network, tmp_path, dynamic_batch=False)
    assert onnx.load(path).graph.input[0].type.tensor_type.shape.dim[0].dim_value == len(X)
    assert error(in_onnxruntime(path, X)[0], in_float64(network, X)) < 1e-6


def test_a_network_that_the_exporter_refuses_is_an_error_with_a_remedy(tmp_path, capfd):
    network = Network(lambda x, layer: layer(x) if x.sum() > 0 else x, FastDeconv(3, 3, 1))
    with pytest.raises(ExportError, match=r"refuses the network as it is(.|\n)*--against MODEL"):
        exported(network, tmp_path)
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")
