import made_up_profiles as made_up
import pytest
from html_page import Page

from nd_deploy.profiling.environment.record import Jetson, Sample
from nd_deploy.profiling.results import Method
from nd_deploy.report.page.fared import panels_of, throttle_reasons, throttled_spans
from nd_deploy.report.page.names import named_rows
from nd_deploy.report.page.receipts import receipts_section
from nd_deploy.report.page.surroundings import environment_section

pytestmark = pytest.mark.usefixtures("undrawn")


def words(profile):
    return Page(environment_section(profile, 2, "")).text


def test_the_processor_and_the_method_are_told():
    found = words(made_up.profile(made_up.row(), method=Method(5, 12, processes="each")))
    assert "AMD EPYC 9B14, 2 of 4 logical processors, quota 2, governor performance" in found
    assert "turbo on, 2600 MHz before, load 0.2 before, 3.0 % busy with others" in found
    assert "each model opened 5 times, with 12 turns" in found
    assert "in a process each" in found
    assert "GPU" not in found
    assert "nd-deploy profile digits --against naive" in found


def test_what_is_not_known_is_left_out():
    cpu = made_up.Cpu("some processor", 1, (0,))
    found = words(made_up.profile(made_up.row(), environment=made_up.environment(cpu=cpu)))
    assert "some processor, 1 of 1 logical processors method" in found
    assert "None" not in found


def test_a_gpu_and_a_board_are_told():
    board = Jetson("Orin NX", "36.4.3", "MAXN (0)", "locked")
    surroundings = made_up.environment(gpu=made_up.gpu(), jetson=board)
    found = words(made_up.profile(made_up.row(), environment=surroundings))
    assert "NVIDIA H200, compute capability 9.0, driver 580.95, CUDA 13.0, 150.0 GB" in found
    assert "0 other processes on it" in found
    assert "Orin NX, Jetson Linux 36.4.3, power mode MAXN (0), clocks locked" in found


def test_how_the_device_fared_is_drawn_and_its_throttling_told():
    found = environment_section(made_up.on_a_gpu(), 2, "")
    (image,) = Page(found).all("img")
    assert "clock of the GPU, MHz: 1890 to 1980" in image["alt"]
    assert "sw_thermal_slowdown in 14 samples" in Page(found).text
    assert not Page(environment_section(made_up.profile(made_up.row()), 2, "")).all("img")


def test_lines_are_of_what_the_samples_hold():
    samples = [
        Sample(1.0, "a", temperature_c=40.0, rails={"VDD_GPU": 5.0, "VDD_CPU": 2.0}),
        Sample(2.0, "a", rails={"VDD_GPU": 6.0}),
    ]
    temperature, power = panels_of(samples)
    assert temperature.lines == {"GPU": [(1.0, 40.0)]}
    assert power.lines == {"VDD_GPU": [(1.0, 5.0), (2.0, 6.0)], "VDD_CPU": [(1.0, 2.0)]}
    assert power.span() == (2.0, 6.0)
    assert panels_of([Sample(1.0, "a")]) == panels_of([]) == []


def test_a_device_was_throttled_from_the_sample_before_to_the_last_that_says_so():
    flags = [True, False, True, True, False]
    samples = [
        Sample(float(second), "a", throttle=("hot",) if flag else ())
        for second, flag in enumerate(flags, start=1)
    ]
    assert throttled_spans(samples) == [(0.0, 1.0), (2.0, 4.0)]
    assert throttle_reasons(samples) == {"hot": 3}


def test_rows_that_ran_with_the_same_share_a_receipt():
    rows = [made_up.row(batch=1), made_up.row(batch=2, runtime="torch"), made_up.row(batch=3)]
    text = Page(receipts_section(named_rows(made_up.profile(*rows)), 2, "")).text
    assert "Rows 1, 3: onnxruntime 1.31.1" in text
    assert "Row 2: torch 2.13.0" in text
    assert "graph_optimization_level = all" in text
    assert "providers got CPUExecutionProvider" in text


def test_rows_without_receipts_have_no_section_for_them():
    rows = named_rows(made_up.profile(made_up.row(receipt={})))
    assert receipts_section(rows, 2, "") == ""
