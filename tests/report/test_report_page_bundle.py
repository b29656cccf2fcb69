import re

import made_up_profiles as made_up
import pytest
from bundles import bundle_of
from html_page import Page
from tiny_bundle import parity

from nd_deploy.report.page import profile_page

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def bundle(tmp_path):
    return bundle_of(tmp_path / "a bundle")


def headings(text):
    return re.findall(r"<h2>(.*?)</h2>", text)


def test_fold_and_parity_come_between_the_warnings_and_the_latency(bundle):
    profile = made_up.profile(made_up.row(), interrupted=True)
    assert headings(profile_page(profile, bundle)) == [
        "Warnings",
        "The network",
        "Parity",
        "Fold",
        "Latency",
        "Distributions",
        "Environment",
        "Receipts",
    ]


def test_every_decision_is_there_with_its_reason_and_its_worst_certificate(bundle):
    text = Page(profile_page(None, bundle)).text
    # Of the two certificates, (4.5, 32752, 5.5, 3e-8) and (1, 7000, 1.5, 1e-8).
    assert "layers.2 FastDeconv folded into itself 4.50 5.50 7000 3.0e-08" in text
    assert "norm5 ChannelDeconv lowered to a 1x1 convolution n" in text
    assert "D whitens what the convolution reads: layers.0, layers.1, layers.2" in text
    assert "4 layers; folded into itself: 3, lowered to a 1x1 convolution: 1." in text


def test_many_decisions_are_a_click_away(tmp_path):
    from tiny_bundle import decisions

    few = profile_page(None, bundle_of(tmp_path / "few"))
    many = profile_page(None, bundle_of(tmp_path / "many", decisions=decisions(40)))
    assert "Layer by layer" not in few
    assert "Layer by layer" in many
    assert many.count('<th scope="row">layers.') == 40


def test_a_network_without_nd_layers_has_a_page_too(tmp_path):
    text = Page(profile_page(None, bundle_of(tmp_path / "none", decisions=[]))).text
    assert "The network has no ND layer." in text


def test_the_gates_are_there_and_what_they_prove_is_said_above(bundle):
    text = Page(profile_page(None, bundle)).text
    assert "2 of 2 parity gates passed, with an error of at most 1.0e-07" in text
    assert "fold a with b 1.0e-14 1.0e-10 pass" in text
    assert "PyTorch's on 100.0% of 4 inputs" in text
    assert "backend 2 x PyTorch's tf32 False" in text


def test_a_gate_that_failed_is_said_above(tmp_path):
    text = Page(profile_page(None, bundle_of(tmp_path / "bad", parity=parity(1e-3)))).text
    assert "The model is not the trained network: the gate fold failed." in text
    assert "fold a with b 1.0e-03 1.0e-10 FAIL" in text


def test_what_is_worth_knowing_about_the_checkpoint_is_on_the_page(bundle):
    assert "layers.0: untrained" in Page(profile_page(None, bundle)).text


def test_without_a_measurement_the_page_says_how_to_make_one(bundle):
    text = profile_page(None, bundle)
    assert headings(text)[-1] == "Latency"
    (commands,) = re.findall(r"<pre[^>]*>(.*?)</pre>", text, re.DOTALL)
    assert "nd-deploy profile &#x27;" in commands
    assert "a bundle&#x27; --against naive" in commands
    assert "--profile profile.json -o report.html" in commands


def test_the_page_is_called_after_the_network(bundle):
    found = Page(profile_page(made_up.on_a_processor(), bundle))
    assert found.text.startswith("tiny tiny 4 ND layers, float32.")
