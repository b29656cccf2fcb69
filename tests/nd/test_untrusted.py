import io
import os
import pickle
import warnings
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from nd_deploy.errors import CheckpointError
from nd_deploy.nd.checkpoint import read_checkpoint


class RunsCode:
    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return os.mkdir, (str(self.witness),)


def _bytes_of(content, **options):
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def _zip_of(name):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "x")
    return buffer.getvalue()


def _torchscript():
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), buffer)
    return buffer.getvalue()


def _overwritten(content, start, patch):
    return content[:start] + patch + content[start + len(patch) :]


STATE = {"w": torch.ones(64, 64)}
ZIP = _bytes_of(STATE)
LEGACY = _bytes_of(STATE, _use_new_zipfile_serialization=False)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"

UNREADABLE = {
    "empty": (b"", "is empty", "again"),
    "truncated zip": (ZIP[:-500], "cut short", "again"),
    "malformed pickle": (ZIP.replace(b"\x80\x02}", b"\x80\x02\xff"), "malformed", "again"),
    "damaged zip": (_overwritten(ZIP, 0, b"PK\x03\x04" + b"\xff" * 60), "damaged", "again"),
    "truncated legacy data": (LEGACY[:-500], "cut short", "again"),
    "truncated legacy header": (LEGACY[:60], "cut short", "again"),
    "png": (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "is no checkpoint", "torch.save"),
    "text": (b"hello world\n" * 9, "is no checkpoint", "torch.save"),
    "plain zip": (_zip_of("photos/cat.png"), "zip archive but no checkpoint", "torch.save"),
    "git lfs pointer": (LFS, "Git LFS pointer", "git lfs pull"),
    "list": (_bytes_of([1, 2]), "holds a list", "state dict"),
    "dict without tensors": (_bytes_of({"epoch": 3, "arch": "x"}), "without tensors", "state dict"),
    "nested dict without tensors": (_bytes_of({"state_dict": {}}), "without tensors", "state dict"),
    "whole module": (_bytes_of(nn.Linear(2, 2)), "torch.nn.modules.linear.Linear", "state_dict"),
    "numpy scalar": (_bytes_of({"w": np.float64(3)}), "numpy", "state_dict"),
    "pickle": (pickle.dumps({"a": 1}), "Python pickle", "state_dict"),
    "torchscript": (_torchscript(), "TorchScript", "scripted from"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_is_no_checkpoint_is_named_with_a_remedy(tmp_path, case):
    content, problem, remedy = UNREADABLE[case]
    path = tmp_path / "given.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert str(path) in caught.value.problem
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("length", [4, 20, -1])
def test_a_truncated_safetensors_file(tmp_path, length):
    path = tmp_path / "c.safetensors"
    save_file(STATE, path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match="no whole safetensors file") as caught:
        read_checkpoint(path)
    assert str(path) in caught.value.problem


def test_a_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match=r"absent\.pth does not exist"):
        read_checkpoint(tmp_path / "absent.pth")


def test_a_folder(tmp_path):
    with pytest.raises(CheckpointError, match="is a folder"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("layout", ["zip", "legacy", "pickle"])
def test_code_in_a_checkpoint_never_runs(tmp_path, layout):
    witness = tmp_path / "ran"
    content = {"state_dict": STATE, "extra": RunsCode(witness)}
    path = tmp_path / "c.pth"
    if layout == "pickle":
        path.write_bytes(pickle.dumps(RunsCode(witness)))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=layout == "zip")
    with pytest.raises(CheckpointError, match="runs nothing that comes from") as caught:
        read_checkpoint(path)
    assert not witness.exists()
    assert layout == "pickle" or "posix.mkdir" in caught.value.problem
    assert "torch.save(" in caught.value.remedy
