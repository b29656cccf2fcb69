"""Folder names as the authors' scripts write them."""

from pathlib import Path

import pytest

from nd_deploy.models import read_folder_name

MAIN = (
    "cifar10,vgg11,ep.1,SGD,0.1,cosine,bs.32,wd.0.001,bn.True,deconv.True,delinear.True,b.64,"
    "stride.3,it.5,eps.1e-05,bias.True,bfc.512"
)
IMAGENET = (
    "imagenet,densenet121d,ep:1,0.1,cosine,wd:0.0001,bs:4,seed:None,deconv:True,delinear:False,"
    "stride:3,b:64,it:5,eps:1e-05,bias:True,bfc:64"
)
SEGMENTATION = (
    "cityscapes,fcn_resnet50d,aux:False,ep:3,0.1,bs:4,deconv:True,blk:32,it:7,eps:0.001,"
    "bias:True,size:104,pt:False,pt_bb:False"
)


def read(name):
    return read_folder_name(f"checkpoints/{name}/11-21-06.04/checkpoint.pth.tar")


def changed(name, **fields):
    parts = name.split(",")
    for key, value in fields.items():
        (place,) = (i for i, part in enumerate(parts) if part.startswith((f"{key}.", f"{key}:")))
        parts[place] = parts[place][: len(key) + 1] + value
    return ",".join(parts)


@pytest.mark.parametrize(
    ("name", "dataset", "arch", "options"),
    [
        (
            MAIN,
            "cifar10",
            "vgg11",
            {"norm": "nd", "head": "delinear", "block": 64, "block_fc": 512,
             "eps": 1e-5, "n_iter": 5, "sampling_stride": 3},
        ),
        (
            IMAGENET,
            "imagenet",
            "densenet121d",
            {"norm": "nd", "head": "channel_deconv", "block": 64, "block_fc": 64,
             "eps": 1e-5, "n_iter": 5, "sampling_stride": 3},
        ),
        (
            SEGMENTATION,
            "cityscapes",
            "fcn_resnet50d",
            {"norm": "nd", "backbone": "nd", "aux": "off", "block": 32, "eps": 1e-3, "n_iter": 7},
        ),
    ],
)  # fmt: skip
def test_the_name_of_each_script_tells_its_options(name, dataset, arch, options):
    found = read(name)
    assert (found.text, found.dataset, found.arch) == (name, dataset, arch)
    assert found.options == options


@pytest.mark.parametrize(
    ("deconv", "delinear", "bfc", "norm", "head"),
    [
        ("True", "True", "512", "nd", "delinear"),
        ("True", "True", "0", "nd", "linear"),
        ("True", "False", "0", "nd", "linear"),
        ("False", "False", "512", "bn", "channel_deconv"),
        # As strtobool gives them.
        ("1", "0", "64", "nd", "channel_deconv"),
        ("0", "1", "64", "bn", "delinear"),
    ],
)
def test_three_fields_decide_about_norm_and_head(deconv, delinear, bfc, norm, head):
    options = read(changed(MAIN, deconv=deconv, delinear=delinear, bfc=bfc)).options
    assert (options["norm"], options["head"]) == (norm, head)
    assert options.get("block_fc", 0) == int(bfc)


def test_a_name_from_before_delinear_says_nothing_about_the_head():
    options = read(MAIN.replace("delinear.True,", "")).options
    assert "head" not in options
    assert options["block_fc"] == 512


def test_the_backbone_of_a_segmentation_is_deconvolved_where_its_name_says_so():
    assert read(SEGMENTATION.replace("50d", "50")).options["backbone"] == "bn"
    assert read(changed(SEGMENTATION, aux="True")).options["aux"] == "on"


@pytest.mark.parametrize(
    ("field", "value", "option"),
    [("eps", "none", "eps"), ("eps", "nan", "eps"), ("eps", "-1", "eps"), ("eps", "0", "eps"),
     ("b", "0", "block"), ("b", "6.4", "block"), ("it", "None", "n_iter"),
     ("bfc", "many", "head"), ("deconv", "yes", "norm")],
)  # fmt: skip
def test_a_field_of_another_form_is_left_out_alone(field, value, option):
    assert read(MAIN).options.keys() - read(changed(MAIN, **{field: value})).options.keys() >= {
        option
    }


@pytest.mark.parametrize(
    "name", ["vgg11", "runs,vgg11", "a,b,c,d,e,f", "cifar10,vgg11,ep.1,bs.32", ",,ep.1", ""]
)
def test_other_folders_say_nothing(name):
    assert read(name) is None


def test_the_nearest_folder_counts():
    path = Path("/data") / MAIN / changed(MAIN, eps="0.01") / "11-21-06.04" / "model_best.pth.tar"
    assert read_folder_name(path).options["eps"] == 0.01
    assert read_folder_name(path.parents[2]).options["eps"] == 1e-5


def test_a_relative_path_and_a_link_lead_to_the_folder(tmp_path, monkeypatch):
    folder = tmp_path / MAIN / "11-21-06.04"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert read_folder_name("checkpoint.pth.tar").arch == "vgg11"
    (folder / "checkpoint.pth.tar").touch()
    (tmp_path / "best.pth.tar").symlink_to(folder / "checkpoint.pth.tar")
    assert read_folder_name(tmp_path / "best.pth.tar").arch == "vgg11"
