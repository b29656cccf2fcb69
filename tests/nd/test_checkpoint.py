import hashlib
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from nd_deploy.errors import CheckpointError
from nd_deploy.nd.checkpoint import find_non_finite, load_into, read_checkpoint

MLP = Path(__file__).parents[1] / "reference" / "mlp.pth.tar"


def small_network(classes=3):
    torch.manual_seed(0)
    return nn.Sequential(
        OrderedDict(
            features=nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)),
            classifier=nn.Linear(4, classes),
        )
    )


def written(path, content, **options):
    torch.save(content, path, **options)
    return path


def same_tensors(found, expected):
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


class TestFormats:
    def test_a_checkpoint_of_main_py(self, tmp_path):
        state = small_network().state_dict()
        content = {
            "state_dict": state,
            "epoch": 20,
            "arch": "vgg11",
            "best_acc": 91.5,
            "train_losses": [2.0, 1.0],
            "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": []},
        }
        path = written(tmp_path / "checkpoint.pth.tar", content)
        checkpoint = read_checkpoint(path)
        assert checkpoint.format == "main.py"
        assert checkpoint.arch == "vgg11"
        assert checkpoint.meta == {"epoch": 20, "best_acc": 91.5}
        assert checkpoint.notes == []
        assert checkpoint.path == path
        assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        same_tensors(checkpoint.state_dict, state)

    def test_a_checkpoint_of_main_imagenet_py(self, tmp_path):
        state = small_network().state_dict()
        content = {
            "epoch": 90,
            "arch": "resnet18d",
            "state_dict": {f"module.{name}": tensor for name, tensor in state.items()},
            "best_acc1": torch.tensor(71.25),
        }
        checkpoint = read_checkpoint(written(tmp_path / "c.pth.tar", content))
        assert checkpoint.format == "main_imagenet.py"
        assert checkpoint.arch == "resnet18d"
        assert checkpoint.meta == {"epoch": 90, "best_acc1": 71.25}
        assert checkpoint.notes == ["prefix 'module.' removed from 9 keys"]
        same_tensors(checkpoint.state_dict, state)

    def test_a_vgg_of_which_only_the_features_were_parallel(self, tmp_path):
        state = small_network().state_dict()
        mixed = {name.replace("features.", "features.module."): t for name, t in state.items()}
        checkpoint = read_checkpoint(written(tmp_path / "c.pth", {"state_dict": mixed}))
        assert checkpoint.notes == ["prefix 'features.module.' removed from 7 keys"]
        same_tensors(checkpoint.state_dict, state)

    def test_a_segmentation_checkpoint(self, tmp_path):
        state = {"backbone.layers.conv1.weight": torch.ones(2), "classifier.0.bias": torch.ones(1)}
        content = {"model": state, "optimizer": {}, "epoch": 29}
        checkpoint = read_checkpoint(written(tmp_path / "model.pth", content))
        assert checkpoint.format == "segmentation"
        assert checkpoint.arch is None
        assert checkpoint.meta == {"epoch": 29}
        assert list(checkpoint.state_dict) == ["backbone.conv1.weight", "classifier.0.bias"]
        assert checkpoint.notes == ["prefix 'backbone.layers.' removed from 1 keys"]

    @pytest.mark.parametrize("zipped", [True, False])
    def test_a_bare_state_dict_in_either_file_layout(self, tmp_path, zipped):
        state = small_network().state_dict()
        path = written(tmp_path / "c.pth", state, _use_new_zipfile_serialization=zipped)
        checkpoint = read_checkpoint(str(path))
        assert checkpoint.format == "state dict"
        same_tensors(checkpoint.state_dict, state)

    @pytest.mark.parametrize("name", ["c.safetensors", "c.bin"])
    def test_safetensors_are_known_by_content(self, tmp_path, name):
        state = small_network().state_dict()
        save_file(state, tmp_path / name, metadata={"arch": "vgg11", "epoch": "7"})
        checkpoint = read_checkpoint(tmp_path / name)
        assert checkpoint.format == "safetensors"
        assert checkpoint.arch == "vgg11"
        assert checkpoint.meta == {"epoch": "7"}
        same_tensors(dict(sorted(checkpoint.state_dict.items())), dict(sorted(state.items())))

    def test_the_network_is_taken_rather_than_its_moving_average(self, tmp_path):
        content = {"ema": {"w": torch.zeros(1)}, "state_dict": {"w": torch.ones(1)}}
        checkpoint = read_checkpoint(written(tmp_path / "c.pth", content))
        assert checkpoint.state_dict["w"] == 1

    def test_two_state_dicts_of_equal_standing_are_refused(self, tmp_path):
        content = {"teacher": {"w": torch.zeros(1)}, "student": {"w": torch.ones(1)}}
        with pytest.raises(CheckpointError, match="'teacher', 'student'"):
            read_checkpoint(written(tmp_path / "c.pth", content))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_the_dtype_stays(self, tmp_path, dtype):
        state = {"w": torch.ones(2, dtype=dtype)}
        same_tensors(read_checkpoint(written(tmp_path / "c.pth", state)).state_dict, state)

    def test_entries_that_are_no_tensors_are_noted(self, tmp_path):
        content = {"state_dict": {"w": torch.ones(1), "w._extra_state": None}}
        checkpoint = read_checkpoint(written(tmp_path / "c.pth", content))
        assert checkpoint.notes == ["1 entries are no tensors and were left out: w._extra_state"]

    def test_a_wrapper_that_only_some_keys_have_is_part_of_the_network(self, tmp_path):
        state = {"module.w": torch.ones(1), "head.w": torch.ones(1)}
        same_tensors(read_checkpoint(written(tmp_path / "c.pth", state)).state_dict, state)

    def test_the_official_mlp(self):
        checkpoint = read_checkpoint(MLP)
        assert checkpoint.format == "main.py"
        assert checkpoint.arch == "mlp"
        assert all(t.dtype in (torch.float32, torch.int64) for t in checkpoint.state_dict.values())
        assert find_non_finite(checkpoint.state_dict) == []


def checkpoint_of(tmp_path, state, **around):
    return read_checkpoint(written(tmp_path / "c.pth", {"state_dict": state, **around}))


class TestLoadInto:
    def test_every_tensor_arrives(self, tmp_path):
        state = {name: t + 1 for name, t in small_network().state_dict().items()}
        network = small_network()
        load_into(network, checkpoint_of(tmp_path, state))
        same_tensors(network.state_dict(), state)

    def test_a_half_checkpoint_loads_into_a_float_network(self, tmp_path):
        state = {name: t.half() for name, t in small_network().state_dict().items()}
        network = small_network()
        load_into(network, checkpoint_of(tmp_path, state))
        assert network.classifier.weight.dtype == torch.float32
        assert torch.equal(network.classifier.weight, state["classifier.weight"].float())

    def test_a_network_may_be_wrapped_as_well(self, tmp_path):
        state = {name: t + 1 for name, t in small_network().state_dict().items()}
        network = nn.DataParallel(small_network())
        load_into(network, checkpoint_of(tmp_path, state))
        same_tensors(network.module.state_dict(), state)

    def test_format_versions_of_the_layers_survive(self, tmp_path):
        class Versioned(nn.Linear):
            _version = 7

            def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
                self.seen = local_metadata.get("version")
                super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

        network = Versioned(2, 2)
        load_into(network, checkpoint_of(tmp_path, Versioned(2, 2).state_dict()))
        assert network.seen == 7

    def test_other_keys_are_listed_and_nothing_is_loaded(self, tmp_path):
        state = {name: t + 1 for name, t in small_network().state_dict().items()}
        state["layer1.conv.weight"] = state.pop("features.0.weight")
        network = small_network()
        before = {name: t.clone() for name, t in network.state_dict().items()}
        checkpoint = checkpoint_of(tmp_path, state, arch="resnet18")
        with pytest.raises(CheckpointError) as caught:
            load_into(network, checkpoint)
        assert str(checkpoint.path) in caught.value.problem
        assert "1 missing: features.0.weight" in caught.value.problem
        assert "1 unexpected: layer1.conv.weight" in caught.value.problem
        assert "arch 'resnet18'" in caught.value.remedy
        same_tensors(network.state_dict(), before)

    def test_a_long_list_is_cut_but_counted(self, tmp_path):
        with pytest.raises(CheckpointError, match=r"9 missing: .*, and 5 more"):
            load_into(small_network(), checkpoint_of(tmp_path, {"w": torch.ones(1)}))

    def test_another_number_of_classes_is_recognised(self, tmp_path):
        network = small_network(classes=3)
        before = {name: t.clone() for name, t in network.state_dict().items()}
        with pytest.raises(CheckpointError) as caught:
            load_into(network, checkpoint_of(tmp_path, small_network(classes=5).state_dict()))
        problem = caught.value.problem
        assert "2 of another shape: classifier.weight (expected (3, 4), found (5, 4))" in problem
        assert "5 classes" in caught.value.remedy
        assert "not 3" in caught.value.remedy
        same_tensors(network.state_dict(), before)

    def test_the_classes_of_two_classifiers_are_recognised(self, tmp_path):
        def segmentation(classes):
            heads = {name: nn.Conv2d(4, classes, 1) for name in ("classifier", "aux_classifier")}
            return nn.ModuleDict({"backbone": nn.Conv2d(3, 4, 3), **heads})

        with pytest.raises(CheckpointError) as caught:
            load_into(segmentation(19), checkpoint_of(tmp_path, segmentation(21).state_dict()))
        assert "4 of another shape: classifier.weight (expected (19, 4, 1" in caught.value.problem
        assert "21 classes" in caught.value.remedy

    @pytest.mark.parametrize("shape", [(), (3, 5), (5, 4)])
    def test_other_shapes_are_not_taken_for_classes(self, tmp_path, shape):
        state = {"weight": torch.zeros(shape), "bias": torch.zeros(4)}
        with pytest.raises(CheckpointError) as caught:
            load_into(nn.Linear(4, 3), checkpoint_of(tmp_path, state))
        assert "widths and block sizes" in caught.value.remedy

    def test_another_block_size_is_recognised(self, tmp_path):
        def layer(block):
            module = nn.Conv2d(4, 4, 1)
            module.register_buffer("running_mean", torch.zeros(block))
            module.register_buffer("running_deconv", torch.eye(block))
            return module

        with pytest.raises(CheckpointError) as caught:
            load_into(layer(4), checkpoint_of(tmp_path, layer(2).state_dict()))
        assert "block size" in caught.value.remedy


class TestFindNonFinite:
    def test_names_every_tensor_with_a_nan_or_an_infinity(self):
        state = {
            "fine": torch.ones(3),
            "nan": torch.tensor([1.0, float("nan")]),
            "count": torch.tensor(3),
            "inf": torch.tensor([float("-inf")], dtype=torch.float16),
            "bf16": torch.ones(2, dtype=torch.bfloat16),
            "fp8": torch.tensor([float("nan")]).to(torch.float8_e4m3fn),
            "empty": torch.ones(0),
        }
        assert find_non_finite(state) == ["nan", "inf", "fp8"]
