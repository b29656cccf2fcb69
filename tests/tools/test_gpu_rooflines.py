"""The figures on paper, worked out by hand for a layer of 64 channels at 56x56 on an H200."""

import pytest
from gpu.rooflines import (
    ConvShape,
    Peaks,
    Work,
    covariance,
    dynamic_whitening,
    frozen_whitening,
    newton_schulz,
    peaks_of,
)

LAYER = ConvShape(32, 64, 64, 1, 64, 56, 56, (3, 3), (1, 1), (1, 1), (1, 1), (3, 3), 5)
H200 = peaks_of("NVIDIA H200")
US = 1e6


def test_a_frozen_whitening_is_a_copy_of_51_mb():
    work = frozen_whitening(32, 64, 56 * 56, 64, 4)
    assert work.bytes == pytest.approx(51.4e6, rel=1e-3)
    assert work.seconds(H200.bytes_per_s, H200.tf32) * US == pytest.approx(10.7, abs=0.05)
    assert work.operations / H200.fp32 * US == pytest.approx(12.3, abs=0.05)
    assert work.operations / H200.tf32 * US == pytest.approx(2.1, abs=0.05)
    half = frozen_whitening(32, 64, 56 * 56, 64, 2)
    assert half.seconds(H200.bytes_per_s, H200.tf32) * US == pytest.approx(5.4, abs=0.05)


def test_newton_schulz_is_5_7_gflop_whatever_the_image():
    work = newton_schulz(576, 5)
    assert work.operations == pytest.approx(5.73e9, rel=1e-3)
    assert work.operations / H200.fp32 * US == pytest.approx(86, abs=0.6)
    assert work.operations / H200.tf32 * US == pytest.approx(14, abs=0.4)


def test_samples_are_every_third_patch_both_ways():
    assert LAYER.features == 576
    assert LAYER.positions((3, 3)) == (19, 19)
    assert LAYER.samples == 32 * 19 * 19
    work = covariance(LAYER.samples, LAYER.features)
    assert work.operations / H200.tf32 * US == pytest.approx(19, abs=0.3)


def test_the_convolution_behind_is_7_4_gflop():
    work = LAYER.convolution(4)
    assert work.operations / H200.tf32 * US == pytest.approx(18.5, abs=0.1)
    assert work.bytes == 2 * 32 * 64 * 56 * 56 * 4 + 64 * 64 * 9 * 4


def test_statistics_add_up_and_read_no_more_than_the_image():
    fold = 2 * 64 * 576 * 576
    parts = 2 * LAYER.samples * 576**2 + 15 * 2 * 576**3 + fold
    assert LAYER.statistics(4).operations == parts
    assert LAYER.statistics(4).bytes == 32 * 64 * 56 * 56 * 4 + 64 * 576 * 8
    pixel = ConvShape(2, 128, 64, 1, 64, 8, 8, (1, 1), (2, 2), (0, 0), (1, 1), (6, 6), 5)
    assert pixel.samples == 2 * 4  # every 36th of 128 pixels, in two blocks
    assert pixel.statistics(2).bytes == 4 * 128 * 2 + 64 * 128 * 6


def test_every_group_has_statistics_of_its_own():
    layer = ConvShape(2, 8, 16, 4, 2, 9, 9, (3, 3), (1, 1), (1, 1), (1, 1), (3, 3), 3)
    assert layer.features == 18
    assert layer.samples == 2 * 9
    assert layer.statistics(4).operations == (
        4 * 2 * 18 * 18**2 + 4 * 9 * 2 * 18**3 + 2 * (16 * 2 * 9) * 18
    )


def test_whitening_with_the_batchs_statistics_reads_its_samples_once_more():
    work = dynamic_whitening(2, 128, 36, 64, 5, 9, 4)
    frozen = frozen_whitening(2, 128, 36, 64, 4)
    assert work.bytes == frozen.bytes + 2 * 128 * 4 * 4
    assert work.operations == frozen.operations + 2 * (2 * 2 * 4) * 64**2 + 15 * 2 * 64**3


def test_the_longer_of_both_times_counts():
    assert Work(10, 30).seconds(10, 10) == 3
    assert Work(30, 10).seconds(10, 10) == 3


def test_devices_are_known_by_a_part_of_their_name():
    assert peaks_of("NVIDIA H100 80GB HBM3").bytes_per_s == 3.35e12
    assert peaks_of("NVIDIA H100 PCIe").bytes_per_s == 2.0e12
    assert isinstance(peaks_of("Orin (nvgpu)"), Peaks)
    assert peaks_of("NVIDIA GeForce RTX 4090") is None
