import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

# Not by attribute: `nd_deploy.convert` is also the function.
CONVERSION = importlib.import_module("nd_deploy.conversion")
DIGITS = Path(__file__).parents[2] / "models" / "checkpoints" / "digits.pth.tar"
NET = """
import torch
from torch import nn
from nd_deploy.nd.layers import FastDeconv

class Net(nn.Sequential):
    def __init__(self, width: int = 4, act="relu"):
        super().__init__(FastDeconv(3, width, 3, block=3), nn.ReLU(), nn.Flatten())
        torch.manual_seed(0)
        self.train()(torch.randn(8, 3, 6, 6))

network = Net()
number = 3
def lists(): return [1]
def breaks(): raise ValueError("no such backbone")
def leaves(): raise SystemExit(2)
def chats(): print("chatter"); return Net()
"""


@pytest.fixture
def converted(monkeypatch, make_bundle, tmp_path):
    """Let the conversion itself do nothing, and tell what it was asked for."""
    asked = {}
    monkeypatch.chdir(tmp_path)

    def convert(module, example_input, **options):
        options["report"]("folding")
        asked.update(options, module=module, example_input=example_input)
        return make_bundle("converted", overwrite=True)

    monkeypatch.setattr(CONVERSION, "convert", convert)
    return asked


@pytest.fixture
def net(users_module):
    return users_module(NET)


def command(*arguments, folder):
    return subprocess.run(
        [sys.executable, "-m", "nd_deploy", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_main_job_from_checkpoint_to_predictions(tmp_path):
    done = command("convert", "digits", "--checkpoint", DIGITS, "-o", "out", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "6 ND layers" in done.stdout
    assert "FAIL" not in done.stdout
    assert "nd-deploy verify out" in done.stdout
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["checkpoint"]["name"] == DIGITS.name
    assert manifest["preprocessing"]["size"] == [8, 8]

    done = command("verify", "out", "--per-layer", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["parity"]["passed"]
    assert document["layers"]

    from PIL import Image

    Image.new("L", (8, 8), 128).save(tmp_path / "a.png")
    done = command("run", "out", "a.png", "--top-k", "3", "--json", folder=tmp_path)
    assert len(json.loads(done.stdout)["images"][0]["top"]) == 3


def test_a_network_of_the_user_is_converted_and_its_chatter_kept_off_stdout(net, tmp_path):
    arguments = ["convert", f"{net}:chats", "--input", "3x6x6", "-o", "a/out", "--json"]
    done = command(*arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["parity"]["passed"]
    assert document["manifest"]["command"].startswith("nd-deploy convert users_net:chats")
    assert "chatter" in done.stderr
    assert "no --checkpoint" in done.stderr
    assert (tmp_path / "a" / "out" / "model.onnx").is_file()


def test_an_interrupted_conversion_leaves_nothing(users_module, tmp_path):
    users_module("import os, signal\ndef build(): os.kill(os.getpid(), signal.SIGINT)\n")
    before = set(tmp_path.iterdir())
    arguments = ["convert", "users_net:build", "--input", "3x6x6", "-o", "a/out"]
    done = command(*arguments, folder=tmp_path)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == "error: interrupted; nothing was written"
    assert "Traceback" not in done.stderr
    assert set(tmp_path.iterdir()) - {tmp_path / "__pycache__"} == before


def test_an_existing_output_is_refused_before_any_work(invoke, make_bundle, converted, tmp_path):
    bundle = make_bundle().path
    result = invoke("convert", "nowhere:build", "-o", bundle, code=1)
    assert "--overwrite" in result.stderr
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("")
    result = invoke("convert", "nowhere:b", "-o", tmp_path / "notes", "--overwrite", code=1)
    assert "is no bundle" in result.stderr


@pytest.mark.parametrize(
    ("source", "complaint", "remedy"),
    [
        ("frobnet", "no network called 'frobnet'", "digits"),
        ("frobnet", "no network called 'frobnet'", "module:callable"),
        ("nowhere.nets:build", "no module 'nowhere'", "module:callable"),
        ("users_net:Nett", "no 'Nett'", "Net"),
        ("users_net:Net.frob.nicate", "no 'Net.frob.nicate'", ""),
        ("users_net:number", "of type int", "torch.nn.Module"),
        ("users_net:lists", "returned a list", "the network itself"),
        ("users_net:breaks", "ValueError: no such backbone", "--set"),
        ("users_net:leaves", "SystemExit: 2", ""),
        ("./users_net.py:Net", "is a file's path", "users_net:build"),
        ("users_net:", "no ''", ""),
    ],
)
def test_a_source_that_is_no_network_says_why(
    net, invoke, converted, tmp_path, source, complaint, remedy
):
    result = invoke("convert", source, "--input", "3x6x6", "-o", "out", code=1)
    assert complaint in result.stderr
    assert remedy in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_module_that_cannot_be_imported_says_where(users_module, invoke, converted):
    users_module("import os\nimport frobnicate_not_installed\n", "users_net_broken")
    result = invoke("convert", "users_net_broken:Net", "-o", "out", code=1)
    assert "importing users_net_broken raised ModuleNotFoundError" in result.stderr
    assert "users_net_broken.py, line 2" in result.stderr


def test_settings_are_passed_on_as_what_they_look_like(net, invoke, converted):
    invoke(
        *("convert", f"{net}:Net", "--input", "3x6x6", "-o", "out"),
        *("--set", "width=6", "--set", "act=tanh=1"),
    )
    assert converted["module"][0].weight.shape[0] == 6


def test_how_the_network_is_built_is_recorded(net, invoke, converted):
    invoke("convert", f"{net}:Net", "--input", "3x6x6", "-o", "out", "--set", "width=6")
    assert converted["origin"] == {
        "source": "users_net:Net", "settings": {"width": "6"}, "checkpoint": None
    }  # fmt: skip
    invoke("convert", "--checkpoint", DIGITS, "-o", "out")
    assert converted["origin"]["source"] == "digits"
    assert converted["origin"]["checkpoint"] == str(DIGITS)


@pytest.mark.parametrize("setting", ["depth=18", "width"])
def test_a_setting_that_is_not_taken_names_those_that_are(net, invoke, converted, setting):
    arguments = ["convert", f"{net}:Net", "--input", "3x6x6", "-o", "out", "--set", setting]
    result = invoke(*arguments, code=1)
    assert "width: int = 4" in result.stderr or "write one as depth=18" in result.stderr


def test_a_network_that_exists_takes_no_settings(net, invoke, converted):
    invoke("convert", f"{net}:network", "--input", "3x6x6", "-o", "out")
    assert converted["network"] == "users_net:network"
    result = invoke("convert", f"{net}:network", "-o", "out", "--set", "width=6", code=1)
    assert "takes no --set" in result.stderr


def test_the_input_of_a_users_network_has_to_be_given(net, invoke, converted):
    result = invoke("convert", f"{net}:Net", "-o", "out", code=1)
    assert "--input 3x32x32" in result.stderr


@pytest.mark.parametrize("shape", ["3x", "x", "3x-1x4", "3x32x0", "3,32,32", ""])
def test_a_malformed_input_shape_is_refused(invoke, shape):
    result = invoke("convert", "users_net:Net", "--input", shape, "-o", "out", code=1)
    assert "write one as 3x32x32" in result.stderr


def test_options_reach_the_conversion(net, invoke, converted, tmp_path):
    (tmp_path / "labels.txt").write_text("cat\ndog\n\n")
    invoke(
        *("convert", f"{net}:Net", "--input", "3x6x7", "-o", "out", "--samples", 2, "--seed", 7),
        *("--mean", "0.5,0.4,0.3", "--std", "1,2,3", "--scale", "1", "--resize", "bicubic"),
        *("--crop", "center", "--crop-fraction", "0.875", "--labels", "labels.txt"),
        *("--dynamic-spatial", "--static-batch", "--keep-unfolded", "--overwrite"),
    )
    preprocessing = converted["preprocessing"]
    assert preprocessing.mean == (0.5, 0.4, 0.3)
    assert preprocessing.std == (1, 2, 3)
    assert preprocessing.size == (6, 7)
    assert (preprocessing.scale, preprocessing.resize) == (1, "bicubic")
    assert (preprocessing.crop, preprocessing.crop_fraction) == ("center", 0.875)
    assert converted["labels"] == ("cat", "dog")
    assert converted["example_input"].shape == (2, 3, 6, 7)
    assert converted["seed"] == 7
    assert converted["output"] == Path("out")
    assert not converted["dynamic_batch"]
    assert converted["dynamic_spatial"]
    assert converted["keep_unfolded"]
    assert converted["overwrite"]


def test_what_is_drawn_depends_on_the_seed_alone(net, invoke, converted):
    def drawn(*options):
        invoke("convert", f"{net}:Net", "--input", "3x6x6", "-o", "out", *options)
        return converted["example_input"]

    default = drawn()
    assert default.shape == (4, 3, 6, 6)
    assert (drawn("--seed", 0) == default).all()
    assert not (drawn("--seed", 1) == default).all()
    assert drawn("--static-batch").shape[0] == 1


def test_an_input_that_is_no_image_has_no_preprocessing(net, invoke, converted):
    invoke("convert", f"{net}:Net", "--input", "16", "-o", "out")
    assert converted["preprocessing"] is None
    result = invoke("convert", f"{net}:Net", "--input", "16", "-o", "out", "--scale", "1", code=1)
    assert "--scale is for images" in result.stderr


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--mean", "a,b"], "write one as 0.5,0.5,0.5"),
        (["--mean", "0.5"], "1 values for 3 channels"),
        (["--resize", "cubic"], "bicubic"),
        (["--labels", "none.txt"], "none.txt"),
        (["--labels", "empty.txt"], "is empty"),
        (["--labels", "binary.txt"], "no UTF-8"),
        (["--samples", "0"], "--samples"),
    ],
)
def test_options_that_make_no_sense_are_named(net, invoke, converted, tmp_path, options, complaint):
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\xfa")
    result = invoke("convert", f"{net}:Net", "--input", "3x6x6", "-o", "out", *options, code=1)
    assert complaint in result.stderr


def test_inputs_of_the_users_own_are_used(net, invoke, converted, tmp_path):
    values = np.arange(5 * 108.0).reshape(5, 3, 6, 6)
    np.save(tmp_path / "x.npy", values)
    np.savez(tmp_path / "x.npz", anything=values)
    for name in ("x.npy", "x.npz"):
        invoke("convert", f"{net}:Net", "-o", "out", "--reference-inputs", name)
        np.testing.assert_array_equal(converted["example_input"], values)
        assert converted["example_input"].numpy().dtype == np.float32
        assert converted["seed"] is None


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ([np.zeros((2, 3, 7, 7))], "samplesx3x6x6"),
        ([np.zeros((2, 3, 6, 6)), np.zeros(1)], "2 arrays"),
        ([np.full((2, 3, 6, 6), np.nan)], "finite"),
        ([np.array([{}])], "cannot be read"),
        ([np.zeros((0, 3, 6, 6))], "0x3x6x6"),
    ],
)
def test_inputs_of_the_users_own_that_do_not_fit_are_named(
    net, invoke, converted, tmp_path, arrays, complaint
):
    np.savez(tmp_path / "x.npz", *arrays)
    options = ["--input", "3x6x6", "-o", "out", "--reference-inputs"]
    result = invoke("convert", f"{net}:Net", *options, "x.npz", code=1)
    assert complaint in result.stderr
    result = invoke("convert", f"{net}:Net", *options, "none.npz", code=1)
    assert "no such file" in result.stderr


def test_a_checkpoint_is_loaded_and_recorded(invoke, converted):
    invoke("convert", "digits", "--checkpoint", DIGITS, "-o", "out")
    assert converted["checkpoint"]["name"] == "digits.pth.tar"
    assert converted["checkpoint"]["format"] == "main.py"
    assert len(converted["checkpoint"]["sha256"]) == 64
    assert converted["example_input"].shape == (4, 1, 8, 8)
    assert converted["module"].conv1.running_deconv.std() > 0


@pytest.mark.parametrize("content", [None, b"", b"text", DIGITS])
def test_a_checkpoint_that_does_not_fit_is_one_message(net, invoke, converted, tmp_path, content):
    if isinstance(content, bytes):
        (tmp_path / "best.pth.tar").write_bytes(content)
    elif content is not None:
        (tmp_path / "best.pth.tar").symlink_to(content)
    options = ["--input", "3x6x6", "-o", "out", "--checkpoint", "best.pth.tar"]
    result = invoke("convert", f"{net}:Net", *options, code=1)
    assert "best.pth.tar" in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_end_groups_the_decisions_and_names_the_next_steps(net, invoke, converted):
    result = invoke("convert", f"{net}:Net", "--input", "3x6x6", "-o", "out")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[2][:5] == ["folded", "into", "itself", "FastDeconv", "3"]
    assert "warning: layers.0: untrained" in result.stderr
    assert "folding" in result.stderr
    assert "PASS" in result.stdout
    assert "model.onnx" in result.stdout
    assert "nd-deploy inspect" in result.stdout


def test_many_warnings_are_cut_short(net, invoke, converted, make_bundle, monkeypatch):
    untrained = make_bundle("untrained", warnings=[f"layer {i}: untrained" for i in range(58)])
    monkeypatch.setattr(CONVERSION, "convert", lambda *_, **__: untrained)
    stderr = invoke("convert", f"{net}:Net", "--input", "3x6x6", "-o", "out").stderr
    assert "layer 4" in stderr
    assert "layer 5" not in stderr
    assert "53 more" in stderr
