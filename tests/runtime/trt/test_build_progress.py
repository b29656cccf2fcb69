import re

from nd_deploy.runtime.tensorrt.building.progress import Progress


def percents(lines):
    return [int(re.search(r"(\d+) %", line)[1]) for line in lines]


def test_a_phase_inside_a_step_counts_as_that_step():
    progress = Progress(lambda line: True)
    progress.start("build", None, 4)
    progress.step("build", 0)
    assert progress.fraction() == 0.25
    progress.start("time", "build", 2)
    progress.step("time", 0)
    assert progress.fraction() == 0.375
    progress.step("time", 1)
    progress.finish("time")
    progress.step("build", 1)
    assert progress.fraction() == 0.5


def test_lines_rise_and_name_the_phase():
    lines = []
    progress = Progress(lambda line: lines.append(line) or True)
    progress.start("build", None, 2)
    for part in range(2):
        progress.start(f"part {part}", "build", 100)
        for step in range(100):
            assert progress.step(f"part {part}", step)
        progress.finish(f"part {part}")
        progress.step("build", part)
    shown = percents(lines)
    assert shown == sorted(set(shown))
    assert shown[-1] == 100
    assert len(shown) <= 11
    assert "part 0" in lines[0]


def test_a_build_that_nobody_waits_for_is_stopped():
    progress = Progress(lambda line: False)
    progress.start("build", None, 2)
    assert progress.step("build", 0) is False
    assert progress.step("build", 1) is False


def test_phases_that_nobody_announced_do_no_harm():
    progress = Progress(lambda line: True)
    assert progress.step("unknown", 3)
    progress.finish("unknown")
    progress.start("empty", None, 0)
    assert progress.step("empty", 0)
    assert progress.fraction() == 1.0


def test_a_phase_that_names_itself_as_its_parent_does_no_harm():
    progress = Progress(lambda line: True)
    progress.start("odd", "odd", 2)
    assert progress.step("odd", 0)
