import made_up_profiles as made_up
import pytest

from nd_deploy.profiling.figures import LayerTime
from nd_deploy.report.page.layer_pairs import OUTSIDE, layer_pairs
from nd_deploy.report.page.layers import layers_section
from nd_deploy.report.page.names import named_rows


def timed(*layers):
    """Layers as (name, ND layer, seconds)."""
    return tuple(LayerTime(name, "Conv", seconds, nd_layer) for name, nd_layer, seconds in layers)


def pairs_of(*rows, **changes):
    profile = made_up.profile(*rows, **changes)
    return layer_pairs(named_rows(profile), profile.models)


NAIVE = timed(("a", "conv1", 3.0), ("b", "conv1", 1.0), ("c", None, 0.5), ("d", "conv2", 2.0))
FOLDED = timed(("a", "conv1", 3.0), ("d", "conv2", 1.0))


def test_the_nodes_of_an_nd_layer_are_added_up_and_set_beside_the_folded_layer():
    (pair,) = pairs_of(made_up.row("naive", layers=NAIVE), made_up.row(layers=FOLDED))
    assert (pair.before.name, pair.after.name) == (
        "naive, ort-cpu, batch 1",
        "digits, ort-cpu, batch 1",
    )
    assert dict(pair.seconds) == {
        "conv1": (4.0, 3.0),
        "conv2": (2.0, 1.0),
        OUTSIDE: (0.5, None),
    }


def test_the_bundle_comes_after_whatever_the_order_of_the_rows():
    (pair,) = pairs_of(made_up.row(layers=FOLDED), made_up.row("naive", layers=NAIVE))
    assert pair.before.row.contestant.model == "naive"


def test_the_baseline_comes_before_even_if_it_is_a_bundle():
    base = made_up.row("old", layers=NAIVE)
    other = made_up.row("model.onnx", layers=FOLDED, ratio=made_up.ratio(0.5, str(base.contestant)))
    (pair,) = pairs_of(other, base)
    assert pair.before.row is base


def test_only_rows_that_differ_in_their_model_alone_are_paired():
    rows = [
        made_up.row(model, runtime, batch, layers=FOLDED)
        for model in ("naive", "digits", "other")
        for runtime, batch in (("ort-cpu", 1), ("ort-cpu", 8), ("tensorrt", 1))
    ]
    pairs = pairs_of(*rows, made_up.row("digits", "torch"))
    assert len(pairs) == 6
    for pair in pairs:
        one, other = pair.before.row.contestant, pair.after.row.contestant
        assert (one.runtime, one.batch) == (other.runtime, other.batch)
        assert one.model == "naive"


def test_a_row_without_a_partner_stands_alone():
    (pair,) = pairs_of(made_up.row(layers=FOLDED), made_up.row("naive"))
    assert pair.before is None
    assert pair.seconds["conv2"] == (None, 1.0)


def test_layers_of_a_network_without_nd_layers_go_by_their_own_names():
    plain = timed(("a", None, 1.0), ("b", None, 2.0))
    (pair,) = pairs_of(made_up.row(layers=plain))
    assert list(pair.seconds) == ["a", "b"]


def test_no_layers_no_section():
    assert layers_section(named_rows(made_up.profile(made_up.row())), (), 2, "") == ""


@pytest.mark.usefixtures("undrawn")
def test_of_many_layers_the_longest_are_drawn_and_all_are_in_the_table(monkeypatch):
    from nd_deploy.report.page import layers

    drawn = []
    monkeypatch.setattr(layers, "layer_chart", lambda shown, bars, theme: drawn.append(bars))
    blank = layers.draw_both
    monkeypatch.setattr(
        layers, "draw_both", lambda chart, *rest: (chart(None), blank(chart, *rest))[1]
    )
    many = timed(*((f"n{i}", f"layer{i:03}", 1e-3 * (i % 50 + 1)) for i in range(100)))
    rows = named_rows(made_up.profile(made_up.row(layers=many)))
    text = layers_section(rows, (), 2, "")
    (bars,) = drawn
    assert [name for name, _ in bars] == [f"layer{i:03}" for i in range(100) if i % 50 >= 38]
    assert "the 24 longest of 100" in text
    assert text.count('<th scope="row">layer') == 100
