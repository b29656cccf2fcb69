"""TensorRT's parser and builder on folded networks of every family of `nd_deploy.models`.

The networks are narrow and have few blocks, which leaves every op that the family has.
"""

import logging
import warnings
from dataclasses import replace

import pytest
import torch
from rtx import Job, needs_rtx, run

import nd_deploy
from nd_deploy import models
from nd_deploy.models import (
    densenet_imagenet,
    dpn,
    efficientnet,
    mobilenet_v2,
    pnasnet,
    resnet,
    resnext,
    segmentation,
    senet,
    vgg,
)
from nd_deploy.models.blocks import Recipe
from nd_deploy.models.staged import StagedNet, residual_stages
from nd_deploy.precision import cast

pytestmark = [pytest.mark.tensorrt, needs_rtx]

RECIPE = Recipe(10, "nd", "channel_deconv", 64, 64, 1e-5, 5, 3)


@pytest.fixture
def build(monkeypatch):
    """Builds a network with one block a stage where it repeats them, and narrow ones."""
    narrow = (16, 16, 32, 32)
    design = replace(segmentation.RESNET50, depths=(1, 1, 1))
    for module, name, value in (
        (densenet_imagenet, "_DEPTHS", (1, 1, 1, 1)),
        (dpn, "_STAGES", tuple((32, 64, 1, 16) for _ in range(4))),
        (efficientnet, "_STAGES", ((1, 16, 1, 2), (6, 24, 1, 2), (6, 24, 2, 2))),
        (mobilenet_v2, "_STAGES", ((1, 16, 1, 2), (6, 24, 2, 2), (6, 320, 1, 2))),
        (pnasnet, "_CELLS_A_STAGE", 1),
        (resnet, "_WIDTHS", narrow),
        (resnext, "_WIDTHS", (32, 32, 32)),
        (segmentation, "RESNET50", design),
        (segmentation, "_LAST_STAGE", 1024),
        (segmentation, "_ASPP", 16),
        (vgg, "_WIDTHS", (*narrow, 32)),
    ):
        assert hasattr(module, name)
        monkeypatch.setattr(module, name, value)

    def made(name):
        if name == "resnet":
            return resnet._resnet(resnet.BasicBlock, (1, 1, 1, 1), RECIPE)
        if name == "senet":
            stages = residual_stages(senet.PreActSEBlock, (16, 32), (1, 1), RECIPE)
            return StagedNet(RECIPE.stem(64), stages, 32, RECIPE, pool=16)
        return models.build(name)

    return made


# Name, size of the images, whether the size stays open, whether to build an engine as well.
FAMILIES = [
    ("digits", (1, 8, 8), False, True),
    ("mlp", (1, 28, 28), False, True),
    ("vgg11", (3, 32, 32), False, False),
    ("resnet", (3, 32, 32), False, True),
    ("senet", (3, 32, 32), False, False),
    ("resnext29", (3, 32, 32), False, False),
    ("densenet121_imagenet", (3, 64, 64), False, True),
    ("dpn92", (3, 32, 32), False, False),
    ("mobilenet_v2", (3, 32, 32), False, True),
    ("pnasnet_a", (3, 32, 32), False, False),
    ("efficientnet_b0", (3, 8, 8), False, False),
    ("deeplabv3_resnet50", (3, 64, 64), True, False),
]


@pytest.mark.parametrize(
    ("name", "shape", "open_sizes", "engine"), FAMILIES, ids=[row[0] for row in FAMILIES]
)
def test_a_family_parses_in_float32_and_float16(build, name, shape, open_sizes, engine):
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    network = build(name).eval()
    model = nd_deploy.export(network, torch.randn(2, *shape), dynamic_spatial=open_sizes)
    folded = nd_deploy.run_passes(model).model
    profile = {"input": [(size, *shape) for size in (1, 2, 4)]} if engine else None
    for outcome in run([Job(folded, profile), Job(cast(folded, "float16"), profile)]):
        assert not outcome.errors
        assert not outcome.plugins
        assert {"CONVOLUTION", "MATRIX_MULTIPLY"} & set(outcome.layers)
        assert bool(outcome.bytes) == engine
