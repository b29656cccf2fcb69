"""What `nd_deploy.models` says and refuses."""

import subprocess
import sys

import pytest

from nd_deploy import models
from nd_deploy.errors import InputError

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


def test_the_networks_are_those_of_this_release():
    assert models.names() == [
        "digits", "mlp", "vgg11", "vgg13", "vgg16", "vgg19",
        "resnet18", "resnet34", "resnet50", "mobilenet_v2",
    ]  # fmt: skip


@pytest.mark.parametrize(("arch", "name"), [("resnet", "resnet18"), ("mobilev2", "mobilenet_v2")])
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
