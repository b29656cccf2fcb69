"""What `nd_deploy.models` says and refuses."""

import subprocess
import sys

import pytest

from nd_deploy import models
from nd_deploy.errors import InputError
from nd_deploy.models.catalogue import NETWORKS

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from nd_deploy import models
from nd_deploy.errors import MissingDependencyError
assert "vgg16" in models.names()
assert models.describe("mlp").input_shape == (1, 28, 28)
for call in (lambda: models.build("mlp"), lambda: models.options_from_state_dict("mlp", {})):
    try:
        call()
    except MissingDependencyError as error:
        assert "nd-deploy[export]" in str(error)
    else:
        raise AssertionError("torch was not missed")
"""


def test_the_networks_can_be_listed_where_torch_is_missing():
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_the_networks_for_digits_and_cifar_are_those_of_this_release():
    first = [name for name in models.names() if max(models.describe(name).input_shape) <= 32]
    assert first == [
        "digits", "mlp", "vgg11", "vgg13", "vgg16", "vgg19",
        "resnet18", "resnet34", "resnet50", "preact_resnet18", "senet18", "resnext29",
        "densenet121", "dpn92", "mobilenet_v2", "pnasnet_a", "pnasnet_b", "efficientnet_b0",
    ]  # fmt: skip
    assert models.names()[: len(first)] == first


def test_no_name_stands_for_two_networks():
    known = [name for info in NETWORKS for name in (info.name, *info.aliases)]
    assert len(known) == len(set(known))


def test_table_1_of_the_paper_is_quoted_for_its_ten_networks():
    rows = {
        name: models.describe(name).accuracy
        for name in models.names()
        if "CIFAR" in models.describe(name).dataset and models.describe(name).accuracy
    }
    assert len(rows) == 10
    for accuracy in rows.values():
        assert [row.dataset for row in accuracy] == ["CIFAR-10", "CIFAR-100"]
        assert {(row.metric, row.epochs) for row in accuracy} == {("top-1", 100)}
        assert all(50 < row.bn < row.nd < 100 for row in accuracy)
    assert rows["mobilenet_v2"] == (
        models.Accuracy("CIFAR-10", "top-1", 100, bn=90.51, nd=94.35),
        models.Accuracy("CIFAR-100", "top-1", 100, bn=67.52, nd=74.90),
    )


@pytest.mark.parametrize(
    ("arch", "name"),
    [
        ("resnet", "resnet18"),
        ("preact", "preact_resnet18"),
        ("senet", "senet18"),
        ("resnext", "resnext29"),
        ("dpn", "dpn92"),
        ("mobilev2", "mobilenet_v2"),
        ("pnasnetA", "pnasnet_a"),
        ("pnasnetB", "pnasnet_b"),
        ("efficient", "efficientnet_b0"),
    ],
)
def test_the_names_of_the_authors_are_aliases(arch, name):
    assert models.describe(arch) is models.describe(name)
    assert arch not in models.names()


def test_an_unknown_network_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"'vgg12'(.|\n)*vgg11, vgg13"):
        models.build("vgg12")


def test_an_unknown_option_is_answered_with_the_known_ones():
    with pytest.raises(
        InputError, match=r"mlp has no option called 'head'(.|\n)*num_classes, norm"
    ):
        models.build("mlp", head="linear")


@pytest.mark.parametrize(
    ("option", "value", "remedy"),
    [
        ("norm", "batch", "nd, bn"),
        ("head", None, "linear, delinear, channel_deconv"),
        ("num_classes", 0, "positive int"),
        ("block", 64.0, "positive int"),
        ("n_iter", True, "positive int"),
        ("eps", -1e-5, "positive float"),
        ("eps", "1e-5", "positive float"),
    ],
)
def test_an_impossible_value_is_answered_with_possible_ones(option, value, remedy):
    with pytest.raises(InputError, match=rf"{option} of vgg11 cannot be (.|\n)*{remedy}"):
        models.build("vgg11", **{option: value})


def test_a_whole_number_will_do_for_a_float():
    assert models.build("mlp", eps=1).linear[1].eps == 1
