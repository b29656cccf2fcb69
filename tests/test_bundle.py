import errno
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from nd_deploy.bundle import check_output, onnx_file, read_bundle, write_bundle
from nd_deploy.bundle.files import readable_size
from nd_deploy.errors import BundleError, InputError
from nd_deploy.fold.certificate import Certificate
from nd_deploy.parity.report import Gate, ParityReport
from nd_deploy.passes.base import Action, Decision
from nd_deploy.preprocess import Preprocessing

MODEL = """
<ir_version: 10, opset_import: ["": 20]>
net (float[batch, 3, 16, 16] image) => (float[batch, 2] logits)
<float[2, 768] weight, float[2] bias>
{
    flat = Flatten (image)
    logits = Gemm <transB: int = 1> (flat, weight, bias)
}
"""
CERTIFICATE = Certificate(1.5, 2.0, 32752.0, 4.0, 1e-8)
DECISION = Decision(
    "fc", "NDDelinear", Action.FOLDED, "a Delinear is linear", "fold_delinear", ("fc",)
)


def model(weights=(2, 768)):
    proto = parser.parse_model(MODEL)
    del proto.graph.initializer[:]
    weight = np.arange(np.prod(weights), dtype=np.float32).reshape(weights)
    proto.graph.initializer.append(numpy_helper.from_array(weight, "weight"))
    proto.graph.initializer.append(numpy_helper.from_array(np.ones(2, np.float32), "bias"))
    return proto


def parity(error=1e-14):
    return ParityReport([Gate("fold", "a with b", error, 1e-10, "rounding")], 1.0, 4)


def write(output, **changes):
    arguments = {
        "model": model(),
        "network": "net",
        "decisions": [DECISION],
        "warnings": [],
        "parity": parity(),
        "reference": {"image": np.zeros((4, 3, 16, 16), np.float32)},
    }
    return write_bundle(output, **(arguments | changes))


def edit(path, **changes):
    """Change fields of a JSON file, and its hash in the manifest where it has one."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    rehash(path)


def rehash(path):
    manifest = path.with_name("manifest.json")
    fields = json.loads(manifest.read_text())
    if path != manifest:
        fields["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        manifest.write_text(json.dumps(fields))


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "out")
    return tmp_path / "out"


def test_what_was_written_is_read_back(tmp_path):
    written = write(
        tmp_path / "out",
        preprocessing=Preprocessing("RGB", (16, 16), mean=(0.5, 0.5, 0.5)),
        labels=("NaN", "Infinity"),
        checkpoint={"name": "best.pth.tar", "sha256": "00", "format": "main.py", "arch": None},
        seed=7,
        command="nd-deploy convert net",
        warnings=["fc: untrained"],
        decisions=[
            Decision(
                "fc",
                "NDDelinear",
                Action.FOLDED,
                "why",
                "fold_delinear",
                ("fc",),
                (CERTIFICATE, Certificate(1.0, 0.0, float("inf"), float("nan"), 0.0)),
            )
        ],
    )
    read = read_bundle(str(tmp_path / "out"))
    assert read.manifest == written.manifest
    assert read.warnings == ["fc: untrained"]
    assert read.parity == written.parity
    assert read.manifest.labels == ("NaN", "Infinity")
    kept, infinite = read.decisions[0]["certificates"]
    assert kept == CERTIFICATE.as_dict()
    assert infinite["float16_headroom"] == float("inf")
    assert np.isnan(infinite["condition"])
    np.testing.assert_array_equal(read.reference()["image"], np.zeros((4, 3, 16, 16), np.float32))


def test_the_manifest_describes_the_model(folder):
    manifest = read_bundle(folder).manifest
    assert manifest.inputs[0].name == "image"
    assert manifest.inputs[0].shape == ("batch", 3, 16, 16)
    assert manifest.outputs[0].dtype == "float32"
    assert manifest.precision == "float32"
    assert manifest.nodes_left == {"Flatten": 1, "Gemm": 1}
    assert manifest.nd_layers == 1
    assert {"nd_deploy", "onnx", "numpy", "python"} <= set(manifest.versions)


def test_batch_normalisations_do_not_count_as_nd_layers(tmp_path):
    batch_norm = Decision("bn", "BatchNormalization", Action.FOLDED, "why", "fold_batch_norm")
    assert write(tmp_path / "out", decisions=[DECISION, batch_norm]).manifest.nd_layers == 1


def test_numbers_that_are_not_finite_are_strict_json_and_come_back(tmp_path):
    write(tmp_path / "out", parity=parity(float("nan")))

    def refuse(word):
        raise AssertionError(word)

    text = (tmp_path / "out" / "parity.json").read_text()
    assert json.loads(text, parse_constant=refuse)["gates"][0]["error"] == "NaN"
    read = read_bundle(tmp_path / "out").parity
    assert np.isnan(read.gates[0].error)
    assert not read.passed


def test_no_path_of_this_machine_is_written(tmp_path):
    write(tmp_path / "out")
    for file in (tmp_path / "out").iterdir():
        assert str(tmp_path).encode() not in file.read_bytes()


def test_two_bundles_of_one_model_differ_in_the_manifest_alone(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b")
    for name in ("model.onnx", "fold.json", "parity.json", "reference.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_an_array_may_be_called_file(tmp_path):
    write(tmp_path / "out", reference={"file": np.ones(3), "a/b": np.zeros(2)})
    assert sorted(read_bundle(tmp_path / "out").reference()) == ["a/b", "file"]


def test_large_weights_lie_beside_the_model_and_load_from_there(tmp_path):
    import onnxruntime as ort

    proto = model()
    before = proto.SerializeToString()
    bundle = write(tmp_path / "out", model=proto, unfolded=proto, external_data_over=100)
    assert proto.SerializeToString() == before
    assert {"model.onnx.data", "unfolded.onnx.data"} <= set(bundle.manifest.files)
    assert read_bundle(tmp_path / "out").unfolded_path == tmp_path / "out" / "unfolded.onnx"
    image = np.ones((1, 3, 16, 16), np.float32)
    feeds = {"image": image}
    plain = ort.InferenceSession(before).run(None, feeds)[0]
    apart = ort.InferenceSession(bundle.model_path).run(None, feeds)[0]
    assert weights_are_outside(bundle.model_path)
    np.testing.assert_array_equal(plain, apart)


def weights_are_outside(path):
    return bool(onnx_file.references(onnx.load(path, load_external_data=False)))


def test_a_weight_of_several_pages_keeps_its_values_outside(tmp_path):
    proto = model(weights=(2000, 48))
    onnx_file.save(proto, tmp_path / "model.onnx", external_data_over=100)
    assert weights_are_outside(tmp_path / "model.onnx")
    loaded = onnx.load(tmp_path / "model.onnx")
    for kept, read in zip(proto.graph.initializer, loaded.graph.initializer, strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(kept), numpy_helper.to_array(read))


def test_a_model_whose_weights_are_elsewhere_is_refused_on_writing(tmp_path):
    proto = model()
    tensor = proto.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="elsewhere")
    with pytest.raises(ValueError, match="not loaded"):
        write(tmp_path / "out", model=proto)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_refused(folder):
    with pytest.raises(BundleError, match="--overwrite"):
        write(folder)


def test_overwriting_replaces_the_bundle(folder):
    write(folder, network="other", overwrite=True)
    assert read_bundle(folder).manifest.network == "other"
    assert [path.name for path in folder.parent.iterdir()] == ["out"]


def test_overwriting_through_a_link_keeps_the_link(folder):
    link = folder.with_name("link")
    link.symlink_to(folder)
    write(link, network="other", overwrite=True)
    assert link.is_symlink()
    assert read_bundle(folder).manifest.network == "other"


def test_an_empty_folder_may_be_overwritten(tmp_path):
    (tmp_path / "out").mkdir()
    write(tmp_path / "out", overwrite=True)
    assert read_bundle(tmp_path / "out").manifest.network == "net"


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("thesis.tex", "text", "is no bundle"),
        ("manifest.json", "{}", "something else's"),
        ("manifest.json", "{", "malformed"),
    ],
)
def test_a_folder_that_is_no_bundle_is_never_overwritten(tmp_path, name, content, complaint):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text(content)
    with pytest.raises(BundleError, match=complaint):
        write(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / name).read_text() == content


def test_a_bundle_with_files_of_the_user_is_never_overwritten(folder):
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match=r"notes\.txt"):
        write(folder, overwrite=True)
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_file_is_never_overwritten(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(BundleError, match="is a file"):
        write(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out").read_text() == "mine"


def test_the_current_and_the_home_folder_are_never_overwritten(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for place in (Path(), folder, folder.parent, Path("/"), Path.home()):
        with pytest.raises(BundleError, match="current or the home"):
            check_output(place, overwrite=True)
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", str(folder))
    with pytest.raises(BundleError, match="current or the home"):
        check_output(folder, overwrite=True)


def test_missing_parents_are_made(tmp_path):
    write(tmp_path / "a" / "b" / "out")
    assert read_bundle(tmp_path / "a" / "b" / "out").manifest.network == "net"


def test_a_parent_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="cannot be written"):
        write(tmp_path / "file" / "out")


@pytest.mark.parametrize(
    "failure", [KeyboardInterrupt(), OSError(errno.ENOSPC, "full"), RuntimeError("bug")]
)
def test_a_failure_half_way_leaves_nothing(tmp_path, monkeypatch, failure):
    def fail(*_):
        raise failure

    monkeypatch.setattr("nd_deploy.bundle.writing.save_arrays", fail)
    with pytest.raises((KeyboardInterrupt, BundleError, RuntimeError)):
        write(tmp_path / "a" / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_half_way_keeps_the_bundle_that_was_to_be_overwritten(folder, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("nd_deploy.bundle.writing.save_arrays", fail)
    with pytest.raises(KeyboardInterrupt):
        write(folder, network="other", overwrite=True)
    assert read_bundle(folder).manifest.network == "net"
    assert [path.name for path in folder.parent.iterdir()] == ["out"]


def test_a_failure_while_swapping_puts_the_old_bundle_back(folder, monkeypatch):
    rename = Path.rename

    def fail(self, target):
        if self.name == "new":
            raise OSError(errno.EACCES, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(BundleError, match="Permission denied"):
        write(folder, network="other", overwrite=True)
    assert read_bundle(folder).manifest.network == "net"


def test_a_full_disk_names_the_folder_and_the_space(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("nd_deploy.bundle.onnx_file.save", fail)
    with pytest.raises(BundleError, match=r"out.*disk is full.*6\.2 kB") as caught:
        write(tmp_path / "out")
    assert "free some space" in caught.value.remedy


def test_the_folder_has_ordinary_permissions(folder, tmp_path):
    (tmp_path / "ordinary").mkdir()
    assert folder.stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_labels_that_are_not_one_per_class_are_refused(tmp_path):
    with pytest.raises(InputError, match="3 labels for the network's 2 classes"):
        write(tmp_path / "out", labels=("a", "b", "c"))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_and_a_file_are_no_bundles(tmp_path):
    with pytest.raises(BundleError, match="does not exist"):
        read_bundle(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="is a file"):
        read_bundle(tmp_path / "file")
    with pytest.raises(BundleError, match=r"has no manifest\.json"):
        read_bundle(tmp_path)


def test_a_newer_schema_asks_for_an_upgrade(folder):
    edit(folder / "manifest.json", schema_version=2)
    with pytest.raises(BundleError, match="newer") as caught:
        read_bundle(folder)
    assert "--upgrade" in caught.value.remedy


@pytest.mark.parametrize("name", ["model.onnx", "fold.json", "parity.json", "reference.npz"])
def test_a_missing_or_changed_file_is_named(folder, name):
    file = folder / name
    content = file.read_bytes()
    file.write_bytes(content + b" ")
    with pytest.raises(BundleError, match=f"{name} has changed"):
        read_bundle(folder)
    file.unlink()
    with pytest.raises(BundleError, match=f"lacks {name}"):
        read_bundle(folder, check_files=False)


@pytest.mark.parametrize(
    "changes",
    [
        {"files": {}},
        {"files": None},
        {"inputs": [{"name": "x"}]},
        {"inputs": 3},
        {"inputs": [3]},
        {"inputs": [{"name": "x", "dtype": "float32", "shape": [None]}]},
        {"schema_version": "one"},
        {"network": None},
        {"preprocessing": {"mode": "CMYK"}},
        {"preprocessing": {"mode": "RGB", "size": [1, 1], "new": 1}},
        {"preprocessing": {"mode": "RGB", "size": 4, "mean": [], "std": []}},
        {"preprocessing": {"mode": "L", "size": [1, 1], "mean": ["x"], "std": []}},
    ],
)
def test_a_malformed_manifest_is_refused(folder, changes):
    edit(folder / "manifest.json", **changes)
    with pytest.raises(BundleError):
        read_bundle(folder)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("fold.json", {"layers": 3}),
        ("fold.json", {"layers": [{}]}),
        ("fold.json", {"layers": [DECISION.as_dict() | {"certificates": [{"growth": "big"}]}]}),
        ("parity.json", {"gates": [{"name": "fold"}]}),
        ("parity.json", {"gates": [{"error": 1, "budget": 1, "else": 1}]}),
        ("parity.json", {"gates": None}),
    ],
)
def test_malformed_records_are_refused(folder, name, changes):
    edit(folder / name, **changes)
    with pytest.raises(BundleError, match="malformed"):
        read_bundle(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "\xff", "[" * 100_000])
def test_records_that_are_no_json_object_are_refused(folder, text):
    (folder / "fold.json").write_text(text, encoding="latin-1")
    rehash(folder / "fold.json")
    with pytest.raises(BundleError, match="malformed"):
        read_bundle(folder)
    (folder / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(BundleError, match="malformed"):
        read_bundle(folder)


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "a/b", "..", "", "a\\b"])
def test_a_manifest_that_names_files_outside_is_refused(folder, name):
    files = json.loads((folder / "manifest.json").read_text())["files"]
    edit(folder / "manifest.json", files=files | {name: "0"})
    with pytest.raises(BundleError, match="outside the bundle"):
        read_bundle(folder)


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "unlisted.data"])
@pytest.mark.parametrize("place", ["initializer", "attribute", "subgraph", "function"])
def test_a_model_that_reads_files_outside_is_refused(folder, location, place):
    proto = onnx.load(folder / "model.onnx")
    tensor = onnx.TensorProto(name="t", data_type=1, dims=[1])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    constant = onnx.helper.make_node("Constant", [], ["c"], value=tensor)
    if place == "initializer":
        proto.graph.initializer.append(tensor)
    elif place == "attribute":
        proto.graph.node.append(constant)
    elif place == "subgraph":
        inner = onnx.helper.make_graph([constant], "inner", [], [])
        proto.graph.node.append(onnx.helper.make_node("If", ["b"], ["i"], then_branch=inner))
    else:
        proto.functions.add(name="f", domain="d").node.append(constant)
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    rehash(folder / "model.onnx")
    with pytest.raises(BundleError, match="not the bundle's"):
        read_bundle(folder)


@pytest.mark.parametrize("content", [b"", b"\x08not a model, location unknown"])
def test_a_model_that_is_no_model_is_refused(folder, content):
    (folder / "model.onnx").write_bytes(content)
    rehash(folder / "model.onnx")
    with pytest.raises(BundleError, match="no ONNX model"):
        read_bundle(folder)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text"])
def test_a_damaged_reference_is_an_error(folder, content):
    (folder / "reference.npz").write_bytes(content)
    rehash(folder / "reference.npz")
    with pytest.raises(BundleError, match=r"reference\.npz"):
        read_bundle(folder).reference()


def test_pickles_in_the_reference_are_never_loaded(folder):
    np.savez(folder / "reference.npz", image=np.array([{}], dtype=object))
    rehash(folder / "reference.npz")
    with pytest.raises(BundleError, match=r"reference\.npz"):
        read_bundle(folder).reference()


def test_sizes_are_readable():
    assert [readable_size(n) for n in (0, 999, 1000, 999_999, 2_500_000, 3e12)] == [
        "0 bytes",
        "999 bytes",
        "1.0 kB",
        "1000.0 kB",
        "2.5 MB",
        "3000.0 GB",
    ]
