"""The networks against keys and shapes recorded from the authors' own constructors."""

import json
from pathlib import Path

import pytest
import torch

from nd_deploy import models

OFFICIAL = {
    name: layout
    for file in sorted((Path(__file__).parent / "data").glob("official_layouts*.json"))
    for name, layout in json.loads(file.read_text()).items()
}


def shapes(network):
    return {key: list(value.shape) for key, value in network.state_dict().items()}


@pytest.mark.parametrize("layout", OFFICIAL.values(), ids=OFFICIAL)
def test_keys_and_shapes_are_the_official_ones(layout):
    with torch.device("meta"):
        network = models.build(layout["arch"], **layout["options"])
    assert shapes(network) == layout["shapes"]


@pytest.mark.parametrize("layout", OFFICIAL.values(), ids=OFFICIAL)
def test_the_options_are_told_from_an_official_state_dict(layout):
    state_dict = {key: torch.empty(shape, device="meta") for key, shape in layout["shapes"].items()}
    assert models.options_from_state_dict(layout["arch"], state_dict) == layout["options"]
