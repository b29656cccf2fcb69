import json
import math
from dataclasses import dataclass, replace

import pytest
from tiny_bundle import parity

from nd_deploy.cli.layer_chart import WIDTH, draw_bars
from nd_deploy.parity.verify import Verification


@dataclass(frozen=True)
class Layer:
    layer: str
    node: str
    error: float
    budget: float


@pytest.fixture
def verified(monkeypatch):
    """Let `verify` find something."""

    def find(report, layers=None):
        asked = {}

        def verify(path, **options):
            print("chatter")  # noqa: T201
            asked.update(options, path=path)
            return Verification(report, layers)

        monkeypatch.setattr("nd_deploy.parity.verify.verify", verify)
        return asked

    return find


def test_gates_that_pass_are_shown_and_exit_0(verified, invoke):
    asked = verified(parity())
    output = invoke("verify", "out").stdout
    assert output.count("PASS") == 2
    assert "100.0% of 4 inputs" in output
    assert "rounding" in output
    assert asked["runtime"] == "ort-cpu"
    assert asked["per_layer"] is False


@pytest.mark.parametrize("error", [1.0, math.nan])
def test_a_gate_that_fails_is_shown_and_exits_2(verified, invoke, error):
    verified(parity(error))
    result = invoke("verify", "out", code=2)
    assert "FAIL" in result.stdout
    assert result.stderr.startswith("error: out: the fold gate failed")
    assert "--per-layer" in result.stderr


def test_the_runtime_is_passed_on(verified, invoke):
    asked = verified(parity())
    invoke("verify", "out", "--runtime", "ort-cuda", "--cuda-graph")
    assert asked["runtime"] == "ort-cuda"
    assert asked["options"].cuda_graph


def test_with_tf32_a_backend_over_its_budget_is_no_reason_to_mistrust_the_network(verified, invoke):
    found = parity()
    backend = replace(found.gates[1], error=1e-3)
    verified(replace(found, gates=[found.gates[0], backend]))
    result = invoke("verify", "out", "--runtime", "ort-cuda", "--tf32", code=2)
    assert "without --tf32" in result.stderr
    assert "do not deploy it" in invoke("verify", "out", "--runtime", "ort-cuda", code=2).stderr


def test_the_first_layer_over_its_budget_is_named(verified, invoke):
    layers = [Layer("a", "na", 1e-8, 1e-7), Layer("b", "nb", 1e-3, 1e-7), Layer("c", "nc", 1, 1e-7)]
    asked = verified(parity(1.0), layers)
    result = invoke("verify", "out", "--per-layer", code=2)
    assert asked["per_layer"] is True
    assert "first over its budget: b (node nb), 1.0e-03 over 1.0e-07" in result.stdout
    assert "--per-layer" not in result.stderr


def test_layers_within_their_budgets_are_told_to_be(verified, invoke):
    verified(parity(), [Layer("a", "na", 1e-8, 1e-7)])
    assert "every layer is within" in invoke("verify", "out", "--per-layer").stdout
    verified(parity(), [])
    assert "no layer" in invoke("verify", "out", "--per-layer").stdout


def test_json_is_one_document_whatever_others_print(verified, invoke):
    verified(parity(math.nan), [Layer("a", "na", math.inf, 1e-7)])
    result = invoke("verify", "out", "--per-layer", "--json", code=2)
    document = json.loads(result.stdout)
    assert document["parity"]["passed"] is False
    assert document["parity"]["gates"][0]["error"] == "NaN"
    assert document["layers"] == [{"layer": "a", "node": "na", "error": "Infinity", "budget": 1e-7}]
    assert "chatter" in result.stderr


def test_bars_grow_with_the_logarithm_of_the_error():
    bars = draw_bars([1e-8, 1e-6, 1e-4], [1e-3] * 3)
    lengths = [bar.count("#") for bar in bars]
    assert 0 < lengths[0] < lengths[1] < lengths[2]
    assert lengths[1] - lengths[0] == pytest.approx(lengths[2] - lengths[1], abs=1)
    assert len({bar.index("|") for bar in bars}) == 1


def test_a_bar_that_is_over_its_budget_reaches_past_the_mark():
    under, over = draw_bars([1e-9, 1e-5], [1e-7, 1e-7])
    assert under.index("|") > under.rindex("#")
    assert over.index("|") < over.rindex("#")


def test_bars_of_errors_without_a_logarithm():
    none, all_of_it = draw_bars([0.0, math.nan], [1e-7, 1e-7])
    assert "#" not in none
    assert all_of_it.count("#") + 1 >= WIDTH
    assert draw_bars([0.0, math.inf], [0.0, 0.0]) == ["", "#" * WIDTH]
