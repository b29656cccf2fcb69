from dataclasses import replace
from itertools import pairwise

import pytest
from made_up_profiles import environment, gpu, on_a_gpu, on_a_processor, profile, row
from markdown_it import MarkdownIt

from nd_deploy.profiling.environment.record import Cpu, Environment, Jetson
from nd_deploy.profiling.figures import Remark
from nd_deploy.report.headline import headline
from nd_deploy.report.markdown import to_markdown
from nd_deploy.report.table import table_of


def parsed(text):
    """What a reader of Markdown sees, as (kind of block, its text) in order."""
    blocks = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    found = []
    for before, token in pairwise(blocks):
        if token.type == "inline":
            assert {child.type for child in token.children} <= {"text", "text_special"}
            found.append((before.tag, "".join(child.content for child in token.children)))
        elif token.type == "fence":
            found.append(("code", token.content.strip()))
        assert "html" not in token.type
    return found


@pytest.mark.parametrize("made_up", [on_a_processor, on_a_gpu])
def test_the_table_is_that_of_the_terminal(made_up):
    measurement = made_up()
    columns, lines = table_of(measurement)
    found = parsed(to_markdown(measurement))
    assert [text for tag, text in found if tag == "th"] == [c.removeprefix(">") for c in columns]
    assert [text for tag, text in found if tag == "td"] == [cell for line in lines for cell in line]


def test_the_headline_comes_first():
    measurement = on_a_processor()
    sentences = headline(measurement)
    assert [text for _, text in parsed(to_markdown(measurement))][: len(sentences)] == sentences


def test_warnings_say_whose_they_are_and_what_to_do():
    remark = Remark("noisy", "latency varies by 9 %, over 2.5 %", "pin the clock")
    measurement = profile(row(remarks=(remark,)), remarks=(replace(remark, problem="load"),))
    found = parsed(to_markdown(measurement))
    assert ("p", "load (pin the clock)") in found
    assert (
        "p",
        "digits, ort-cpu, batch 1: latency varies by 9 %, over 2.5 % (pin the clock)",
    ) in found


def test_the_environment_and_the_method_are_in_it():
    text = " ".join(text for _, text in parsed(to_markdown(on_a_gpu())))
    for fact in (
        "AMD EPYC 9B14, 2 of 4 logical processors, quota 2, governor performance",
        "NVIDIA H200, driver 580.95, CUDA 13.0, locked clocks off",
        "Python 3.11.7, nd_deploy 0.1.0, onnxruntime 1.31.1",
        "opened 3 times",
        "4 turns, in one process, of about 0.1 s and at least 3 runs",
    ):
        assert fact in text


def test_a_board_and_its_power_mode_are_in_it():
    jetson = Jetson("Orin Nano", "36.4.3", "MAXN (0)", "locked")
    text = to_markdown(profile(row(), environment=environment(jetson=jetson, gpu=gpu(name="Orin"))))
    assert "Orin Nano, Jetson Linux 36.4.3, power mode MAXN (0), clocks locked" in text


def test_what_is_not_known_of_the_machine_is_left_out():
    bare = Environment("unknown", "unknown", "unknown", Cpu("unknown", 0, ()))
    text = to_markdown(profile(row(), environment=bare))
    assert "on a machine of which nothing is known." in text
    text = to_markdown(profile(row(), environment=replace(bare, versions={"tensorrt": "10.9.0"})))
    assert "on tensorrt 10.9.0." in text


def test_a_measurement_that_was_ended_early_says_so():
    assert "was ended early" in to_markdown(profile(row(), interrupted=True))
    assert "was ended early" not in to_markdown(profile(row()))


def test_the_command_is_shown_as_it_was():
    command = "nd-deploy profile 'a `b` ```c``` *d*' <e>"
    assert ("code", command) in parsed(to_markdown(profile(row(), command=command)))
    assert "code" not in dict(parsed(to_markdown(profile(row(), command=None))))


@pytest.mark.parametrize(
    "name",
    ["a|b", "*a*", "_a_", "<b>", "`a`", "[a](b)", "[a]", "a\\|b", "a&lt;b", "a\nb", "![a](b)"],
)
def test_a_name_of_any_characters_stays_what_it_is(name):
    found = parsed(to_markdown(profile(row(name))))
    assert ("td", name.replace("\n", " ")) in found
