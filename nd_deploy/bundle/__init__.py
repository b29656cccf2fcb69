"""The folder that a conversion makes and every other command reads.

`model.onnx` is the deployable model, `manifest.json` says what it is and holds the hash of every
file, `fold.json` says what became of each ND layer, `parity.json` what was compared and with which
result, `reference.npz` holds what to compare with, `spectra.npz` what is worth keeping of each D.
`unfolded.onnx`, if it was asked for, is the model before folding.
"""

from nd_deploy.bundle.manifest import Manifest, TensorInfo
from nd_deploy.bundle.overwrite import check_output
from nd_deploy.bundle.reading import MODEL, UNFOLDED, Bundle, read_bundle
from nd_deploy.bundle.writing import BundleDraft, check_labels, new_bundle, write_bundle

__all__ = [
    "MODEL",
    "UNFOLDED",
    "Bundle",
    "BundleDraft",
    "Manifest",
    "TensorInfo",
    "check_labels",
    "check_output",
    "new_bundle",
    "read_bundle",
    "write_bundle",
]
