import io
import sys
import time

import pytest

from nd_deploy.cli.render import number, plain_table, progress, shortened, table


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Make stdout and stderr a terminal; called in a test, since pytest sets both before it."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "60")

    def start():
        stream = Terminal()
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return start


def test_plain_tables_are_aligned_and_end_without_spaces():
    text = plain_table(("name", ">size", "note"), [("a", "10", ""), ("long", "5", "x")])
    assert text.splitlines() == ["name  size  note", "a       10", "long     5  x"]


def test_a_table_without_rows_or_headings():
    assert plain_table(("name", ">size"), []) == "name  size"
    assert plain_table(("", ""), [("a", "b")]) == "a  b"


def test_a_terminal_gets_colours_and_the_cells_as_they_are(terminal):
    stream = terminal()
    table(("gate", "result"), [("[red]fold", "PASS")])
    output = stream.getvalue()
    assert "[red]fold" in output
    assert "\x1b[32mPASS" in output


def test_no_color_is_respected(terminal, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    stream = terminal()
    table(("gate", "result"), [("fold", "PASS")])
    assert "PASS" in stream.getvalue()
    assert "\x1b[32m" not in stream.getvalue()


def test_on_a_narrow_terminal_names_and_numbers_stay_whole(terminal):
    name = "layers.16.shortcut.0"
    stream = terminal()
    table(("layer", "why", ">error"), [(name, "a long story " * 5, "1.0e-07")])
    line = next(line for line in stream.getvalue().splitlines() if name in line)
    assert line.rstrip().endswith("1.0e-07")


def test_progress_is_lines_where_there_is_no_terminal(capsys):
    with progress() as report:
        report("folding")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "folding\n")


def test_progress_on_a_terminal_shows_the_step_as_it_is(terminal):
    stream = terminal()
    with progress() as report:
        report("reading [bold]file")
        time.sleep(0.3)
    assert "reading [bold]file" in stream.getvalue()


def test_many_names_are_shortened():
    assert shortened([]) == ""
    assert shortened(["a", "b"]) == "a, b"
    assert shortened(["aaaa", "bbbb", "cccc"], width=10) == "aaaa, bbbb and 1 more"
    assert shortened(["a" * 50, "b"], width=10) == f"{'a' * 50} and 1 more"


def test_numbers_are_short():
    assert [number(x) for x in (4.456, 1e-8, float("nan"))] == ["4.5", "1e-08", "nan"]
