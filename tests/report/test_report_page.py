import base64
import re
import sys
from dataclasses import replace

import made_up_profiles as made_up
import pytest
from html_page import Page

from nd_deploy.errors import MissingDependencyError
from nd_deploy.profiling.figures import Ratio, Remark
from nd_deploy.report.page import profile_page, report_page

pytestmark = pytest.mark.usefixtures("undrawn")


def headings(text):
    return re.findall(r"<h2>(.*?)</h2>", text)


def cells(text, label):
    """The cells of the line of a table that begins with a label."""
    line = re.search(rf'<tr><th scope="row">{re.escape(label)}</th>(.*?)</tr>', text)[1]
    return re.findall(r"<td[^>]*>(.*?)</td>", line)


def two(estimate=0.5, half_width=0.01, **changes):
    """Two rows, of which the second has a ratio."""
    base = made_up.row("naive")
    name = str(base.contestant)
    return base, made_up.row(ratio=made_up.ratio(estimate, name, half_width), **changes)


def test_the_sections_come_in_the_order_in_which_a_reader_asks():
    text = profile_page(made_up.on_a_processor(), None)
    assert headings(text) == [
        "Warnings",
        "Latency",
        "Ratios",
        "Distributions",
        "Layers",
        "Roofline",
        "Environment",
        "Receipts",
    ]
    assert text.index("times as long as") < text.index("<h2>Warnings")


def test_the_page_is_well_formed_and_has_one_heading_above_all_others():
    found = Page(profile_page(made_up.on_a_gpu(), None))
    tags = [tag for tag, _ in found.elements]
    assert tags.count("h1") == tags.count("main") == tags.count("title") == 1
    names = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(names) == len(set(names))


def test_the_page_needs_nothing_but_itself():
    text = profile_page(made_up.on_a_gpu(), None)
    found = Page(text)
    references = [
        value
        for _, attributes in found.elements
        for name, value in attributes.items()
        if name in ("src", "srcset", "href", "action", "data", "poster")
    ]
    assert len(references) > 6
    assert all(value.startswith("data:image/png;base64,") for value in references)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in found.elements}
    assert not re.search(r"https?:|url\(|@import", text)
    policy = next(m for m in found.all("meta") if m.get("http-equiv"))["content"]
    assert "default-src 'none'" in policy


def test_every_chart_has_a_caption_words_for_who_does_not_see_it_and_its_numbers():
    text = profile_page(made_up.on_a_processor(), None)
    figures = re.findall(r"<figure.*?</figure>", text, re.DOTALL)
    assert len(figures) == 7
    for each in figures:
        found = Page(each)
        assert len(found.all("img")[0]["alt"]) > 30
        assert len(found.all("figcaption")) == len(found.all("table")) == 1
        assert "The numbers" in found.text


def test_each_comparison_is_said_in_a_sentence_that_names_its_baseline():
    text = Page(profile_page(made_up.profile(*two(0.71)), None)).text
    assert "batch 1, ort-cpu: digits takes 0.71 [0.70, 0.72] times as long as naive" in text


def test_an_interval_that_holds_1_is_no_difference():
    text = Page(profile_page(made_up.profile(*two(1.004, 0.02)), None)).text
    assert "no difference seen between digits and naive" in text
    assert "0 faster than the baseline, 0 slower, 1 without a difference" in profile_page(
        made_up.profile(*two(1.004, 0.02)), None
    )


def test_of_many_comparisons_the_first_are_said_and_the_rest_are_a_click_away():
    base = made_up.row("naive")
    others = [
        made_up.row(f"model{i}", ratio=made_up.ratio(0.5, str(base.contestant))) for i in range(29)
    ]
    text = profile_page(made_up.profile(base, *others), None)
    header = text[text.index("<header>") : text.index("</header>")]
    shown, hidden = header.split("<details>")
    assert (shown.count("<li>"), hidden.count("<li>")) == (6, 23)
    assert "23 more" in hidden
    assert "Latency of 30 models" in header
    assert len(re.findall(r'<tr><th scope="row">30 · model28, ort-cpu, batch 1</th>', text)) == 5


def test_the_percentiles_of_a_row_are_in_its_line_with_decimals_that_align():
    fast, slow = made_up.row("fast", mean=0.34e-3), made_up.row("slow", mean=33.55e-3, error=2e-7)
    text = profile_page(made_up.profile(fast, slow), None)
    for label, row in (("1 · fast, ort-cpu, batch 1", fast), ("2 · slow, ort-cpu, batch 1", slow)):
        found = row.latency
        expected = [found.p50, found.p90, found.p95, found.p99, found.mean]
        assert cells(text, label)[:5] == [f"{1e3 * seconds:.3f}" for seconds in expected]
    assert cells(text, "2 · slow, ort-cpu, batch 1")[5:] == ["2.0 %", "29.8", "2.0e-07"]


def test_the_baseline_is_called_so_and_a_row_without_any_comparison_is_not():
    text = profile_page(made_up.profile(*two()), None)
    assert cells(text, "1 · naive, ort-cpu, batch 1")[-1] == "baseline"
    assert cells(text, "2 · digits, ort-cpu, batch 1")[-1] == "0.50 [0.49, 0.51]"
    alone = profile_page(made_up.profile(made_up.row()), None)
    assert "baseline" not in Page(alone).text
    assert headings(alone) == ["Latency", "Distributions", "Environment", "Receipts"]
    assert "1 row, none compared with another" in alone


def test_rows_of_a_batch_stand_together_whatever_their_order():
    rows = [made_up.row(batch=batch, runtime=r) for r in ("ort-cpu", "torch") for batch in (1, 8)]
    text = Page(profile_page(made_up.profile(*rows), None)).text
    order = [
        text.index(f"{n} · digits, {r}")
        for n, r in (
            (1, "ort-cpu, batch 1"),
            (2, "torch, batch 1"),
            (3, "ort-cpu, batch 8"),
            (4, "torch, batch 8"),
        )
    ]
    assert order == sorted(order)


def test_what_all_rows_share_is_said_once_and_what_they_do_not_is_in_their_names():
    same = made_up.profile(made_up.row("a", threads=2), made_up.row("b", threads=2))
    text = Page(profile_page(same, None)).text
    assert "All rows: 2 threads." in text
    assert "1 · a, ort-cpu, batch 1 " in text
    other = made_up.profile(made_up.row(threads=1), made_up.row(threads=2))
    text = Page(profile_page(other, None)).text
    assert "2 · digits, ort-cpu, batch 1, 2 threads" in text


def test_warnings_come_with_their_next_step_which_is_said_once_for_all_that_share_it():
    load = Remark("load", "others took 12 %", "stop them")
    unstable = [Remark("unstable", f"the CV is {n} %", "pin the clock") for n in range(3, 7)]
    rows = [made_up.row(str(n), remarks=(remark,)) for n, remark in enumerate(unstable)]
    text = profile_page(made_up.profile(*rows, remarks=(load,)), None)
    warnings = re.search(r"<h2>Warnings</h2>(.*?)</section>", text, re.DOTALL)[1]
    assert "others took 12 % → stop them" in Page(warnings).text
    shown, _, hidden = warnings.partition("<details>")
    assert "2 · 1, ort-cpu, batch 1 : the CV is 4 %" in Page(f"{shown}</li></ul>").text
    assert "2 more like it" in hidden
    assert "4 · 3, ort-cpu, batch 1 : the CV is 6 % → pin the clock" in Page(warnings).text
    assert warnings.count("pin the clock") == 1
    assert "Warnings" not in headings(profile_page(made_up.profile(made_up.row()), None))


def test_a_measurement_that_was_ended_early_says_so_once():
    text = profile_page(made_up.profile(made_up.row(), interrupted=True), None)
    assert headings(text)[0] == "Warnings"
    assert "the measurement was ended early" in text
    said = Remark("interrupted", "Ctrl-C ended it", "measure again")
    text = profile_page(made_up.profile(made_up.row(), interrupted=True, remarks=(said,)), None)
    assert "Ctrl-C ended it" in text
    assert "the measurement was ended early" not in text


def test_a_name_is_text_and_nothing_else():
    name = '<script>alert("x")</script>&amp;$x$'
    hostile = made_up.row(
        name,
        runtime=name,
        ratio=Ratio(name, "latency", 0.5, 0.4, 0.6, 0.95),
        layers=made_up.layers((name,)),
        receipt={name: {name: name}},
        memory={name: 1},
        setup={name: 1.0},
        remarks=(Remark(name, name, name),),
    )
    surroundings = made_up.environment(
        versions={name: name}, gpu=made_up.gpu(name=name), machine=name
    )
    text = profile_page(made_up.profile(hostile, environment=surroundings, command=name), None)
    found = Page(text)
    assert not found.all("script")
    assert found.text.count(name) > 15


def test_a_ratio_that_is_no_number_is_in_the_table_and_not_in_the_chart():
    base = made_up.row("naive")
    broken = replace(made_up.ratio(1.0, str(base.contestant)), high=float("inf"))
    text = profile_page(made_up.profile(base, made_up.row(ratio=broken)), None)
    assert "Ratios" not in headings(text)
    assert "inf" in cells(text, "2 · digits, ort-cpu, batch 1")[-1]


def test_latencies_of_no_length_are_not_drawn():
    nothing = made_up.row(mean=1.0)
    summary = replace(nothing.latency, p50=0.0, quantiles=(0.0,) * 101)
    metric = replace(nothing.metrics["latency"], summary=summary)
    text = profile_page(made_up.profile(replace(nothing, metrics={"latency": metric})), None)
    assert "Distributions" not in headings(text)


def test_several_measurements_are_numbered_and_have_their_own_sections():
    text = report_page([made_up.on_a_gpu(), made_up.profile(made_up.row())], None)
    first, second = headings(text)
    assert first.startswith("Measurement 1, NVIDIA H200, 2026-11-25")
    assert second.startswith("Measurement 2, AMD EPYC 9B14, 2026-11-25")
    assert text.count("<h3>Latency</h3>") == 2
    names = [a["id"] for _, a in Page(text).elements if "id" in a]
    assert len(names) == len(set(names))


def test_without_matplotlib_nothing_is_begun(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match="matplotlib") as refusal:
        profile_page(made_up.profile(made_up.row()), None)
    assert "nd-deploy[report]" in refusal.value.remedy


def test_the_pictures_are_in_the_page_for_a_light_and_a_dark_screen():
    found = Page(profile_page(made_up.profile(made_up.row()), None))
    assert len(found.all("img")) == len(found.all("source")) == 2
    for source in found.all("source"):
        assert source["media"] == "(prefers-color-scheme: dark)"
        assert base64.b64decode(source["srcset"].partition(",")[2]).startswith(b"\x89PNG")
