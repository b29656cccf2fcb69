import pytest
from made_up_profiles import compared, on_a_processor, profile, ratio, row

from nd_deploy.report.headline import headline


def test_models_in_one_runtime_are_compared_by_their_names():
    rows = compared([row("naive", mean=1e-3), row("folded", mean=0.71e-3)])
    assert headline(profile(*rows)) == [
        "batch 1, ort-cpu: folded takes 0.71 [0.70, 0.72] times as long as naive"
    ]


def test_runtimes_of_one_model_are_compared_by_theirs():
    rows = compared([row(runtime="torch", threads=2), row(runtime="ort-cpu", threads=2, mean=2e-4)])
    assert headline(profile(*rows)) == [
        "batch 1, digits, 2 threads: ort-cpu takes 0.20 [0.19, 0.21] times as long as torch"
    ]


def test_whatever_differs_is_told():
    rows = compared(
        [
            row("naive", "torch", 8, threads=1),
            row("folded", "tensorrt", 8, 1e-4, cuda_graph=True, cold_l2=True),
        ]
    )
    assert headline(profile(*rows)) == [
        "batch 8: folded, tensorrt, CUDA graph, cold L2 takes 0.10 [0.09, 0.11] times as long as "
        "naive, torch, 1 thread"
    ]


def test_ways_to_run_one_model_are_compared_by_what_sets_them_apart():
    rows = compared([row(runtime="ort-cuda"), row(runtime="ort-cuda", mean=5e-4, cuda_graph=True)])
    assert headline(profile(*rows)) == [
        "batch 1, digits, ort-cuda: CUDA graph takes 0.50 [0.49, 0.51] times as long as no CUDA "
        "graph"
    ]


def test_a_chosen_number_of_threads_is_told_from_the_default():
    rows = compared([row(), row(threads=1, mean=3e-3)])
    (sentence,) = headline(profile(*rows))
    assert "1 thread takes 3.00 [2.99, 3.01] times as long as default threads" in sentence


@pytest.mark.parametrize("estimate", [0.991, 1.0, 1.009])
def test_no_difference_is_seen_when_the_interval_holds_1(estimate):
    slow = row("folded", ratio=ratio(estimate, str(row("naive").contestant)))
    (sentence,) = headline(profile(row("naive"), slow))
    assert sentence.startswith("batch 1, ort-cpu: no difference seen between folded and naive: ")


@pytest.mark.parametrize("estimate", [0.98, 1.02])
def test_a_difference_is_seen_when_the_interval_ends_before_1(estimate):
    slow = row("folded", ratio=ratio(estimate, str(row("naive").contestant)))
    (sentence,) = headline(profile(row("naive"), slow))
    assert f"folded takes {estimate:.2f} [" in sentence


def test_the_time_of_the_gpu_alone_is_told_besides():
    name = str(row("naive", "tensorrt").contestant)
    fast = row(
        "folded",
        "tensorrt",
        ratio=ratio(0.8, name),
        compute_ratio=ratio(0.65, name, metric="compute"),
    )
    (sentence,) = headline(profile(row("naive", "tensorrt"), fast))
    assert sentence.endswith("as long as naive; compute alone 0.65 [0.64, 0.66]")


def test_every_comparison_of_a_measurement_has_its_sentence():
    made_up = on_a_processor()
    compared_rows = [each for each in made_up.rows if each.ratio is not None]
    assert len(headline(made_up)) == len(compared_rows) > 0


def test_a_row_without_a_baseline_is_not_spoken_of():
    assert headline(profile(row())) == []
    assert headline(profile(row(ratio=ratio(0.5, "nobody, ort-cpu, batch 1")))) == []
    assert headline(profile(row(ratio=ratio(1.0, str(row().contestant))))) == []
