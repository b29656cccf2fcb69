import numpy as np
import pytest

from nd_deploy.bundle.files import save_arrays
from nd_deploy.errors import BundleError
from nd_deploy.parity.reference import LayerReference, Reference, sample


@pytest.fixture
def reference():
    rng = np.random.default_rng(0)
    truth = [rng.normal(size=(3, 4)) for _ in range(12)]
    return Reference(
        {"input_0": rng.normal(size=(3, 2)).astype(np.float32), "input_1": np.arange(3)},
        truth,
        [y.astype(np.float32) for y in truth],
        {
            "": LayerReference(rng.normal(size=5), 1e-7),
            "features.0/odd name": LayerReference(rng.normal(size=7), 0.0),
        },
    )


def test_what_is_written_to_a_file_comes_back(reference, tmp_path):
    save_arrays(tmp_path / "reference.npz", reference.as_arrays())
    with np.load(tmp_path / "reference.npz", allow_pickle=False) as arrays:
        again = Reference.from_arrays(dict(arrays))
    for name, x in reference.inputs.items():
        assert again.inputs[name].dtype == x.dtype
        assert np.array_equal(again.inputs[name], x)
    # Twelve outputs, since a file lists 10 before 2.
    for kind in ("truth", "float32"):
        for actual, expected in zip(getattr(again, kind), getattr(reference, kind), strict=True):
            assert actual.dtype == expected.dtype
            assert np.array_equal(actual, expected)
    assert again.layers.keys() == reference.layers.keys()
    for path, layer in reference.layers.items():
        assert np.array_equal(again.layers[path].truth, layer.truth)
        assert again.layers[path].torch_error == layer.torch_error
    assert again.samples == 3


def test_pytorchs_error_is_that_of_its_worst_output(reference):
    expected = max(
        np.abs(y - t).max() / np.abs(t).max()
        for y, t in zip(reference.float32, reference.truth, strict=True)
    )
    assert reference.torch_error == expected
    assert 0 < expected < 2**-24


@pytest.mark.parametrize(
    "missing",
    [
        "input/",
        "float64/",
        "float32/",
        "float32/3",
        "float64/11",
        "layer_error/features.0/odd name",
    ],
)
def test_a_file_that_lacks_something_is_refused(reference, missing):
    arrays = {k: v for k, v in reference.as_arrays().items() if not k.startswith(missing)}
    with pytest.raises(BundleError, match=r"reference\.npz"):
        Reference.from_arrays(arrays)


def test_a_file_of_something_else_is_refused():
    with pytest.raises(BundleError, match=r"reference\.npz"):
        Reference.from_arrays({"x": np.zeros(3)})
    arrays = {"input/x": np.zeros(3), "float64/a": np.zeros(3), "float32/a": np.zeros(3)}
    with pytest.raises(BundleError, match=r"reference\.npz"):
        Reference.from_arrays(arrays)


def test_a_sample_of_a_large_output_is_spread_from_its_first_to_its_last_entry():
    output = np.arange(10_000, dtype=np.float32).reshape(10, 10, 100)
    taken = sample(output)
    assert taken.shape == (1024,)
    assert taken.dtype == np.float64
    assert (taken[0], taken[-1]) == (0, 9999)
    assert set(np.diff(taken)) <= {9, 10}


@pytest.mark.parametrize("size", [0, 1, 7, 1024])
def test_a_small_output_is_sampled_whole(size):
    assert np.array_equal(sample(np.arange(size)), np.arange(size))
