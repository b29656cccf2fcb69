import json
import re
import subprocess
import sys

import pytest

from nd_deploy import models

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from nd_deploy.cli.main import main
main(sys.argv[1:])
"""


def row(output, name):
    """The words of a network's lines in the table."""
    lines = output.splitlines()
    first = next(i for i, line in enumerate(lines) if line.split()[:1] == [name])
    rest = next(
        (i for i, line in enumerate(lines[first + 1 :], first + 1) if line[:1] not in " ="),
        len(lines),
    )
    return " ".join(lines[first:rest]).split()


def test_every_network_is_listed_with_its_names_its_input_and_its_data(invoke):
    output = invoke("models").stdout
    for name in models.names():
        info = models.describe(name)
        words = {word.rstrip(",") for word in row(output, name)}
        expected = f"{' '.join(info.aliases)} {info.note} {info.dataset}"
        assert {word.rstrip(",") for word in expected.split()} <= words
        assert "x".join(map(str, info.input_shape)) in words


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        # Tables 1 and 2 of the paper.
        ("resnet18", ["94.87", "95.40", "77.70", "78.63"]),
        ("densenet121d", ["74.65", "75.73", "92.17", "92.75"]),
        ("mlp", []),
    ],
)
def test_the_paper_s_figures_stand_beside_each_other(invoke, name, figures):
    name = models.describe(name).name
    for output in (" ".join(row(invoke("models").stdout, name)), invoke("models", name).stdout):
        assert re.findall(r"\b\d\d\.\d\d\b", output) == figures


@pytest.mark.parametrize("name", [[], *([name] for name in models.names())])
def test_no_line_is_longer_than_a_hundred_characters(invoke, name):
    assert max(map(len, invoke("models", *name).stdout.splitlines())) <= 100


def test_a_network_is_shown_with_its_options_under_any_of_its_names(invoke):
    output = invoke("models", "resnet").stdout
    assert output == invoke("models", "resnet18").stdout
    lines = {line.split()[0]: line for line in output.splitlines() if line}
    for option, default in models.describe("resnet18").options.items():
        assert str(default) in lines[option].split()
    assert "nd, bn" in lines["norm"]
    assert "linear, delinear, channel_deconv" in lines["head"]
    assert "a positive float" in lines["eps"]
    assert "after 100 epochs" in output


def test_the_document_holds_every_field(invoke):
    document = json.loads(invoke("models", "--json").stdout)
    assert [network["name"] for network in document["models"]] == models.names()
    for network in document["models"]:
        info = models.describe(network["name"])
        assert network == {
            "name": info.name,
            "builder": info.builder,
            "input_shape": list(info.input_shape),
            "options": dict(info.options),
            "dataset": info.dataset,
            "note": info.note,
            "aliases": list(info.aliases),
            "accuracy": [
                {"dataset": row.dataset, "metric": row.metric, "epochs": row.epochs,
                 "bn": row.bn, "nd": row.nd}
                for row in info.accuracy
            ],
        }  # fmt: skip
    one = json.loads(invoke("models", "preact", "--json").stdout)
    assert one in document["models"]
    assert one["name"] == "preact_resnet18"


def test_an_unknown_network_is_answered_with_the_known_ones(invoke):
    result = invoke("models", "lenet", code=1)
    assert "no network called 'lenet'" in result.stderr
    assert "vgg11, vgg13" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("arguments", [[], ["vgg16"], ["--json"]])
def test_the_list_needs_no_torch(arguments):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, "models", *arguments], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "vgg16" in done.stdout
