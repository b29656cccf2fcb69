import numpy as np
import pytest

from nd_deploy.bundle.files import save_arrays
from nd_deploy.explain.kernels import FirstConvolution
from nd_deploy.explain.record import Spectra, from_arrays, to_arrays
from nd_deploy.explain.spectrum import LayerSpectrum


def spectra():
    layers = (
        LayerSpectrum("features.0", "FastDeconv", np.array([[1.0, 2.0, 3.0]]), 15),
        LayerSpectrum("wörter.1", "FastDeconv", np.arange(1.0, 9.0).reshape(4, 2), None),
        LayerSpectrum("", "ChannelDeconv", np.full((1, 2), np.nan), 5),
    )
    deconv = np.random.default_rng(0).normal(size=(1, 27, 27)).astype(np.float32)
    return Spectra(layers, FirstConvolution("features.0", deconv, 3, (3, 3)))


def test_what_is_laid_out_is_read_back_from_a_file(tmp_path):
    before = spectra()
    save_arrays(tmp_path / "spectra.npz", to_arrays(before))
    with np.load(tmp_path / "spectra.npz", allow_pickle=False) as arrays:
        after = from_arrays(dict(arrays))
    for old, new in zip(before.layers, after.layers, strict=True):
        assert (old.layer, old.kind, old.n_iter) == (new.layer, new.kind, new.n_iter)
        np.testing.assert_array_equal(old.eigenvalues, new.eigenvalues)
    assert after.first.deconv.dtype == np.float32
    np.testing.assert_array_equal(after.first.deconv, before.first.deconv)
    assert (after.first.layer, after.first.channels, after.first.kernel) == (
        "features.0",
        3,
        (3, 3),
    )


def test_a_network_without_nd_layers_or_without_convolutions_has_a_record_too():
    assert from_arrays(to_arrays(Spectra((), None))) == Spectra((), None)
    alone = Spectra(spectra().layers, None)
    assert from_arrays(to_arrays(alone)).first is None


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("n_iter", None, "lacks n_iter"),
        ("eigenvalues/1", None, "lacks eigenvalues/1"),
        ("eigenvalues/0", np.ones(3), "float64"),
        ("eigenvalues/0", np.ones((1, 3), np.int64), "int64"),
        ("kinds", np.array(["FastDeconv"]), "zip"),
        ("first/deconv", np.ones((1, 5, 5)), "does not fit"),
        ("first/geometry", np.array([3, 3]), "unpack"),
    ],
)
def test_a_record_that_is_malformed_says_how(name, value, complaint):
    arrays = to_arrays(spectra())
    arrays.pop(name)
    if value is not None:
        arrays[name] = value
    with pytest.raises(ValueError, match=complaint):
        from_arrays(arrays)
