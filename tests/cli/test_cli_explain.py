import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nd_deploy.bundle import read_bundle
from nd_deploy.explain.kernels import FirstConvolution
from nd_deploy.explain.record import Spectra, to_arrays
from nd_deploy.explain.spectrum import LayerSpectrum

DIGITS = Path(__file__).parents[2] / "models" / "checkpoints" / "digits.pth.tar"
NET = """
import torch
from torch import nn
from nd_deploy.nd.layers import Delinear, FastDeconv

class Net(nn.Sequential):
    def __init__(self, width: int = 4):
        super().__init__(FastDeconv(3, width, 3, n_iter=7), nn.Flatten(), Delinear(width, 2))
        with torch.no_grad():
            self[0].running_deconv.copy_(torch.diag(torch.linspace(1, 3, 27)))

def plain(): return nn.Sequential(nn.Conv2d(3, 4, 3))
"""


@pytest.fixture
def net(users_module):
    return users_module(NET, "users_net_explained")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(3):
        noise = np.random.default_rng(index).integers(0, 255, (14, 12, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{index}.png")
    return folder


@pytest.fixture
def explained_bundle(make_bundle):
    """A bundle with the spectrum of one layer."""
    deconv = np.diag(np.arange(1.0, 10.0))[None]
    layer = LayerSpectrum("conv", "FastDeconv", np.arange(1.0, 10.0)[None], 7)
    spectra = Spectra((layer,), FirstConvolution("conv", deconv, 1, (3, 3)))
    return make_bundle("explained", spectra=to_arrays(spectra)).path


def numbers(folder):
    return json.loads((folder / "explain.json").read_text())


def test_a_network_is_explained_as_it_stands(net, invoke, tmp_path):
    result = invoke("explain", f"{net}:Net", "--set", "width=2", "-o", tmp_path / "out")
    document = numbers(tmp_path / "out")
    assert document["subject"] == f"{net}:Net"
    assert [layer["layer"] for layer in document["layers"]] == ["0", "2"]
    first, second = document["layers"]
    np.testing.assert_allclose(first["eigenvalues"], [np.linspace(1, 3, 27)], rtol=1e-6)
    assert first["condition_bound"] == 1.5**7
    assert second["features"] == 2
    row = next(line for line in result.stdout.splitlines() if line.startswith("0 "))
    assert row.split() == ["0", "FastDeconv", "1", "3", "3", "17"]
    assert "D is the identity: untrained" in result.stdout
    assert "no --checkpoint" in result.stderr
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"explain.html", "explain.json", "spectrum.png", "kernels.png"}
    assert all(name in result.stdout for name in written)


@pytest.mark.parametrize("source", [["digits"], []])
def test_a_checkpoint_is_explained_with_its_network_named_or_found(source, invoke, tmp_path):
    invoke("explain", *source, "--checkpoint", DIGITS, "-o", tmp_path / "out")
    document = numbers(tmp_path / "out")
    assert document["subject"] == "digits"
    assert [layer["layer"] for layer in document["layers"]] == [
        "conv1", "conv2", "conv3", "conv4", "deconv1", "linear"
    ]  # fmt: skip
    import torch

    weights = torch.load(DIGITS, weights_only=True)["state_dict"]
    deconv = weights["conv1.running_deconv"].double().numpy()
    values, directions = np.linalg.eigh((deconv + deconv.T) / 2)
    np.testing.assert_allclose(document["layers"][0]["eigenvalues"][0], values, rtol=1e-12)
    (kernel,) = document["first_convolution"]["shown"][0]["kernels"]
    whole = (directions * values) @ directions.T
    np.testing.assert_allclose(np.ravel(kernel), whole[4], atol=1e-12)


def test_a_conversion_keeps_what_explains_the_network(net, invoke, tmp_path):
    source = f"{net}:Net"
    invoke("explain", source, "-o", tmp_path / "of_network")
    invoke("convert", source, "--input", "3x3x3", "-o", tmp_path / "bundle")
    assert "spectra.npz" in read_bundle(tmp_path / "bundle").manifest.files
    invoke("explain", tmp_path / "bundle", "-o", tmp_path / "of_bundle")
    assert numbers(tmp_path / "of_bundle") == numbers(tmp_path / "of_network")


def test_a_bundle_is_explained_without_pytorch(explained_bundle, tmp_path):
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from nd_deploy.cli.main import main\n"
        f"main(['explain', {str(explained_bundle)!r}, '-o', {str(tmp_path / 'out')!r}, '--json'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, f"drawing\nwriting {tmp_path / 'out'}\n")
    document = json.loads(done.stdout)
    assert document.pop("report") == str(tmp_path / "out")
    assert document == numbers(tmp_path / "out")
    assert document["subject"] == "tiny"
    assert document["layers"][0]["condition"] == 9
    assert document["first_convolution"]["shown"][0]["centre"] == 5


def test_images_are_explained_with_a_bundle_and_without_any(
    explained_bundle, photos, invoke, tmp_path
):
    options = ["--images", photos, "--patch", "3", "--n-iter", "4", "--eps", "0.01"]
    invoke("explain", explained_bundle, *options, "-o", tmp_path / "both")
    invoke("explain", *options, "-o", tmp_path / "alone")
    both, alone = numbers(tmp_path / "both"), numbers(tmp_path / "alone")
    # The network reads one channel, so that brightness alone is comparable.
    assert both["images"]["channels"] == ["brightness"]
    assert alone["images"]["channels"] == ["red", "green", "blue"]
    assert (alone["subject"], alone["layers"]) == (None, [])
    assert [image["name"] for image in alone["images"]["images"]] == ["0.png", "1.png", "2.png"]
    settings = [alone["images"][name] for name in ("patch", "n_iter", "eps", "seed")]
    assert settings == [3, 4, 0.01, 0]
    assert (tmp_path / "both" / "spectrum.png").exists()
    assert not (tmp_path / "alone" / "spectrum.png").exists()


def test_too_many_images_are_drawn_from_and_that_is_said(photos, invoke, tmp_path):
    options = ["--images", photos, "--patch", "3", "--max-images", "2", "--seed", "5", "--grey"]
    result = invoke("explain", *options, "-o", tmp_path / "out")
    assert "note: 2 of the folder's 3 images were drawn, with seed 5" in result.stderr
    document = numbers(tmp_path / "out")["images"]
    assert len(document["images"]) == 2
    assert document["channels"] == ["brightness"]


def test_a_folder_whose_name_is_a_network_s_is_one_only_without_a_checkpoint(
    explained_bundle, invoke, tmp_path, monkeypatch
):
    explained_bundle.rename(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    invoke("explain", "digits", "-o", "bundle")
    invoke("explain", "digits", "--checkpoint", DIGITS, "-o", "network")
    assert numbers(tmp_path / "bundle")["subject"] == "tiny"
    assert numbers(tmp_path / "network")["subject"] == "digits"


def test_a_bundle_of_an_older_version_says_so_and_what_to_do(bundle, invoke, tmp_path):
    result = invoke("explain", bundle, "-o", tmp_path / "report", code=1)
    assert "has no spectra.npz" in result.stderr
    assert "convert the network again" in result.stderr
    assert not (tmp_path / "report").exists()


def test_a_bundle_whose_record_is_malformed_is_refused(make_bundle, invoke, tmp_path):
    broken = make_bundle("broken", spectra={"layers": np.array(["conv"])}).path
    result = invoke("explain", broken, "-o", tmp_path / "report", code=1)
    assert "is malformed: it lacks kinds" in result.stderr


def test_a_network_without_nd_layers_is_refused(net, make_bundle, invoke, tmp_path):
    empty = make_bundle("empty", spectra=to_arrays(Spectra((), None))).path
    for target in (f"{net}:plain", empty):
        result = invoke("explain", target, "-o", tmp_path / "report", code=1)
        assert "has no ND layer" in result.stderr


def test_a_missing_bundle_is_not_taken_for_a_network(invoke, tmp_path):
    result = invoke("explain", tmp_path / "none", "-o", tmp_path / "report", code=1)
    assert f"error: {tmp_path / 'none'} does not exist" in result.stderr


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--patch", "4"], "a patch of 4 pixels has no centre"),
        (["--patch", "13"], "is 12x14 pixels, which is smaller than a patch of 13x13"),
        (["--eps", "0"], "eps is 0.0"),
        (["--n-iter", "0"], "--n-iter"),
    ],
)
def test_settings_that_do_not_suit_the_images_are_refused(
    photos, invoke, tmp_path, options, complaint
):
    result = invoke("explain", "--images", photos, *options, "-o", tmp_path / "report", code=1)
    assert complaint in result.stderr
    assert not (tmp_path / "report").exists()


def test_a_folder_without_images_and_a_damaged_image_are_refused(photos, invoke, tmp_path):
    (tmp_path / "empty").mkdir()
    out = ["-o", tmp_path / "report"]
    assert (
        "holds no image" in invoke("explain", "--images", tmp_path / "empty", *out, code=1).stderr
    )
    (photos / "1.png").write_bytes(b"no image")
    result = invoke("explain", "--images", photos, *out, code=1)
    assert f"error: {photos / '1.png'} is no image" in result.stderr


def test_nothing_to_explain_and_options_without_images_are_wrong_usage(invoke, tmp_path):
    out = ["-o", tmp_path / "report"]
    assert "give a SOURCE, a BUNDLE" in invoke("explain", *out, code=1).stderr
    images = ["--images", tmp_path, "--set", "width=2"]
    assert "--set is for a SOURCE" in invoke("explain", *images, *out, code=1).stderr
    for option in (["--patch", "15"], ["--max-images", "3"], ["--grey"]):
        result = invoke("explain", "digits", *option, *out, code=1)
        assert f"{option[0]} is for --images" in result.stderr


def test_a_report_is_replaced_only_if_that_is_asked_for(explained_bundle, invoke, tmp_path):
    command = ["explain", explained_bundle, "-o", tmp_path / "report"]
    invoke(*command)
    assert "exists already" in invoke(*command, code=1).stderr
    invoke(*command, "--overwrite")
    assert (
        "is no report" in invoke(*command[:2], "-o", explained_bundle, "--overwrite", code=1).stderr
    )
    assert read_bundle(explained_bundle).manifest.network == "tiny"


def test_without_matplotlib_the_remedy_is_named_before_any_work(explained_bundle, tmp_path):
    program = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from nd_deploy.cli.main import main\n"
        f"main(['explain', {str(explained_bundle)!r}, '-o', {str(tmp_path / 'out')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "error: `matplotlib` is not installed\n  install it: pip install 'nd-deploy[explain]'\n"
    )
    assert not (tmp_path / "out").exists()
