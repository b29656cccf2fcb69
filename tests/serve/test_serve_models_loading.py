import os
import re
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from onnx import helper
from served_bundle import (
    edit_manifest,
    images,
    reference,
    rewrite_hash,
    scaled,
    scores,
    write,
)

import nd_deploy
from nd_deploy.bundle.files import save_arrays, sha256
from nd_deploy.errors import BackendError, BundleError, InputError, ParityError
from nd_deploy.preprocess import Preprocessing
from nd_deploy.runtime.options import RunOptions
from nd_deploy.serve.exchange import TensorSpec
from nd_deploy.serve.models import files, loading
from nd_deploy.serve.models.loading import load, load_source
from nd_deploy.serve.models.source import Source
from nd_deploy.serve.settings import Settings

SETTINGS = Settings(threads=1, max_batch=4)


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "bundle")


def open_tiny(folder, settings=SETTINGS, **arguments):
    return load(folder, "tiny", "3", settings, **arguments)


def refuse(folder, kind, *words, **arguments):
    with pytest.raises(kind) as caught:
        open_tiny(folder, **arguments)
    for word in words:
        assert word in str(caught.value)
    return caught.value


def test_a_converted_network_gives_what_pytorch_gives(tmp_path):
    torch = pytest.importorskip("torch")
    from small_networks import error, in_float64, tiny_network

    network = tiny_network()
    x = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    nd_deploy.convert(network, x[:2], tmp_path / "bundle")
    model = load(tmp_path / "bundle", "nd", "1", SETTINGS)
    (port,) = model.spec.inputs
    outputs = model.run({port.name: x.numpy()}, 0)
    assert error(outputs[model.spec.outputs[0].name], in_float64(network, x)) < 1e-6


def test_a_model_is_described_as_its_bundle_says(tmp_path):
    preprocessing = Preprocessing("L", (2, 2), mean=(0.5,))
    model = open_tiny(write(tmp_path / "bundle", preprocessing=preprocessing))
    spec = model.spec
    assert (spec.name, spec.version) == ("tiny", "3")
    assert spec.inputs == (TensorSpec("image", "FP32", (-1, 1, 2, 2)),)
    assert spec.outputs == (TensorSpec("logits", "FP32", (-1, 3), label_count=3),)
    assert (spec.max_batch, spec.batching) == (4, True)
    assert spec.labels == ("cat", "dog", "bird")
    assert spec.preprocessing == preprocessing
    assert spec.providers == ("CPUExecutionProvider",)
    assert model.digest == sha256(tmp_path / "bundle" / "manifest.json")


def test_every_instance_runs(folder):
    model = load_source(Source("tiny", folder), "1", replace(SETTINGS, instances=2))
    assert model.instances == 2
    x = images(3, seed=1)
    for instance in range(2):
        outputs = model.run({"image": x}, instance)
        np.testing.assert_allclose(outputs["logits"], scores(x), rtol=1e-5)


def test_a_cpu_runs_batches_as_they_are(folder, monkeypatch):
    ran = []
    monkeypatch.setattr(loading, "open_runner", recording(loading.open_runner, ran))
    model = open_tiny(folder)
    assert ran == [4, 1, 4]  # the reference, then the smallest and the largest batch
    model.run({"image": images(3)}, 0)
    assert ran[3:] == [3]


def test_the_reference_is_run_in_batches_that_are_allowed(tmp_path, monkeypatch):
    folder = write(tmp_path / "bundle", reference=reference(samples=5))
    ran = []
    monkeypatch.setattr(loading, "open_runner", recording(loading.open_runner, ran))
    open_tiny(folder, replace(SETTINGS, max_batch=2))
    assert ran[:3] == [2, 2, 1]


def recording(open_runner, ran):
    def opener(*arguments):
        runner = open_runner(*arguments)
        run = runner.run

        def record(feeds):
            ran.append(len(feeds["image"]))
            return run(feeds)

        runner.run = record
        return runner

    return opener


def test_a_closed_batch_is_neither_joined_nor_limited(tmp_path):
    model = open_tiny(write(tmp_path / "bundle", batch="4"))
    assert (model.spec.max_batch, model.spec.batching) == (0, False)
    assert model.spec.inputs[0].shape == (4, 1, 2, 2)
    with pytest.raises(InputError, match="shape"):
        model.check({"image": images(2)})


def test_outputs_that_depend_on_the_batch_are_never_joined(tmp_path):
    model = open_tiny(write(tmp_path / "bundle", batch_dependent=True))
    assert (model.spec.max_batch, model.spec.batching) == (4, False)


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        ({}, "missing"),
        ({"image": images(1), "other": images(1)}, "other"),
        ({"image": images(1).astype(np.float64)}, "float64"),
        ({"image": images(1)[:, :, :1]}, "shape"),
        ({"image": images(0)}, "empty"),
        ({"image": images(5)}, "batch of 5, and the largest is 4"),
    ],
)
def test_inputs_that_would_not_run_are_refused(folder, inputs, complaint):
    with pytest.raises(InputError, match=complaint):
        open_tiny(folder).check(inputs)


@pytest.mark.parametrize("factor", [1 + 1e-5, -1, np.nan])
def test_outputs_that_are_not_pytorchs_never_serve(folder, factor):
    arrays = reference()
    save_arrays(folder / "reference.npz", arrays | {"float64/0": arrays["float64/0"] * factor})
    rewrite_hash(folder / "reference.npz")
    error = refuse(folder, ParityError, str(folder), "CPUExecutionProvider", "nd-deploy verify")
    assert error.exit_code == 2


def test_a_reference_that_allows_everything_is_refused(folder):
    arrays = reference()
    save_arrays(folder / "reference.npz", arrays | {"float32/0": arrays["float32/0"] * np.nan})
    rewrite_hash(folder / "reference.npz")
    (folder / "parity.json").write_text('{"gates": [], "top1_agreement": null, "samples": 4}')
    rewrite_hash(folder / "parity.json")
    refuse(folder, ParityError, "budget inf")


def test_another_model_than_the_reference_is_of_never_serves(tmp_path):
    refuse(write(tmp_path / "bundle", model=scaled(1.01)), ParityError)


@pytest.mark.parametrize("name", ["model.onnx", "reference.npz", "fold.json"])
def test_a_file_with_another_hash_is_refused(folder, name):
    with (folder / name).open("ab") as file:
        file.write(b" ")
    refuse(folder, BundleError, name)


@pytest.mark.parametrize("name", ["model.onnx", "reference.npz", "manifest.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    refuse(folder, BundleError, name)


def test_a_truncated_manifest_is_refused(folder):
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text()[:200])
    refuse(folder, BundleError, "manifest.json", "malformed")


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    refuse(tmp_path / "nothing", BundleError, "nothing", "does not exist")


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json", "extra"])
def test_links_inside_a_bundle_are_refused(folder, tmp_path, name):
    outside = tmp_path / "outside"
    if (folder / name).exists():
        (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    refuse(folder, BundleError, name, "link")


def test_a_pipe_in_a_bundle_is_refused_and_not_waited_for(folder):
    (folder / "spectra.npz").unlink(missing_ok=True)
    os.mkfifo(folder / "spectra.npz")
    refuse(folder, BundleError, "spectra.npz")


def test_a_link_to_a_bundle_is_followed(folder, tmp_path):
    (tmp_path / "current").symlink_to(folder)
    assert open_tiny(tmp_path / "current").spec.name == "tiny"


@pytest.mark.parametrize(
    ("name", "limit"), [("fold.json", "_LARGEST_JSON"), ("reference.npz", "_LARGEST_REFERENCE")]
)
def test_files_that_would_fill_the_memory_are_not_read(folder, monkeypatch, name, limit):
    monkeypatch.setattr(files, limit, 100)
    refuse(folder, BundleError, name, "more than the 100 bytes")


def test_a_reference_counts_as_it_is_unpacked(folder, monkeypatch):
    reference_file = folder / "reference.npz"
    with zipfile.ZipFile(reference_file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("input/image.npy", bytes(10**6))
    monkeypatch.setattr(files, "_LARGEST_REFERENCE", 10**5)
    assert reference_file.stat().st_size < 10**4
    refuse(folder, BundleError, "reference.npz", "1.0 MB")


def test_a_reference_that_is_no_archive_is_refused(folder):
    (folder / "reference.npz").write_bytes(b"no archive")
    refuse(folder, BundleError, "reference.npz")


def test_a_bundle_that_changes_while_it_is_read_is_refused(folder, monkeypatch):
    def change(*arguments):
        edit_manifest(folder, network="another")

    monkeypatch.setattr(loading, "warm_up", change)
    refuse(folder, BundleError, "changed while it was read")


def test_a_file_that_may_not_be_read_is_named(folder, monkeypatch):
    def fail(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(loading, "read_bundle", fail)
    refuse(folder, BundleError, str(folder), "Permission denied")


def test_the_operators_labels_replace_the_bundles(folder):
    assert open_tiny(folder, labels=("a", "b", "c")).spec.labels == ("a", "b", "c")


def test_labels_that_do_not_fit_are_refused_by_the_models_name(folder):
    refuse(folder, InputError, "'tiny'", "labels given", "2 labels", "3 classes", labels=("a", "b"))
    edit_manifest(folder, labels=["a", "b"])
    refuse(folder, InputError, "'tiny'", "its bundle's labels", "2 labels", "3 classes")


def test_labels_for_outputs_that_are_no_scores_are_refused(folder):
    edit_manifest(folder, outputs=[{"name": "logits", "dtype": "float32", "shape": ["batch"]}])
    refuse(folder, InputError, "'logits'", "no score for each class", labels=("a",))
    assert open_tiny(folder).spec.labels == ()


def test_a_tensor_that_the_protocol_has_no_name_for_is_refused(folder):
    edit_manifest(folder, inputs=[{"name": "image", "dtype": "complex64", "shape": ["batch"]}])
    refuse(folder, InputError, "'image'", "complex64")


def test_a_manifest_without_inputs_is_refused(folder):
    edit_manifest(folder, inputs=[])
    refuse(folder, InputError, "no inputs")


def test_a_manifest_that_does_not_fit_its_model_is_refused(tmp_path):
    folder = write(tmp_path / "bundle", batch="4")
    edit_manifest(folder, inputs=[{"name": "image", "dtype": "float32", "shape": ["b", 1, 2, 2]}])
    edit_manifest(folder, outputs=[{"name": "logits", "dtype": "float32", "shape": ["b", 3]}])
    refuse(folder, InputError, "shape")


@pytest.mark.parametrize("batch", ["batch", "4"])
def test_a_manifest_with_other_outputs_than_its_model_is_refused(tmp_path, batch):
    folder = write(tmp_path / "bundle", batch=batch)
    size = batch if batch == "batch" else 4
    edit_manifest(folder, outputs=[{"name": "other", "dtype": "float32", "shape": [size, 3]}])
    refuse(folder, BundleError, "logits", "other")


def test_a_gpu_that_is_not_there_is_not_replaced_by_the_cpu(folder):
    error = refuse(folder, BackendError, "CUDAExecutionProvider", runtime="ort-cuda")
    assert error.exit_code == 3


def test_a_runtime_that_is_no_onnx_runtime_is_refused(folder):
    refuse(folder, InputError, "tensorrt", "export-triton", runtime="tensorrt")


def test_a_cuda_graph_is_refused_on_a_cpu(folder):
    refuse(folder, InputError, "--cuda-graph", options=RunOptions(cuda_graph=True))


def test_a_model_that_carries_an_engine_is_refused(tmp_path):
    model = scaled(1)
    model.graph.node.append(
        helper.make_node("EPContext", ["logits"], ["more"], domain="com.microsoft")
    )
    folder = write(tmp_path / "bundle", model=model)
    refuse(folder, BundleError, "model.onnx", "engine", runtime="ort-tensorrt")


def test_threads_are_shared_among_the_instances(folder, monkeypatch):
    asked = []
    opened = loading.open_runner

    def opener(model, runtime, options):
        asked.append(options.options["threads"])
        return opened(model, runtime, options)

    monkeypatch.setattr(loading, "open_runner", opener)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(8))
    monkeypatch.setattr(loading, "quota", lambda root: 6.5)
    for settings in (
        Settings(max_batch=1),
        Settings(max_batch=1, instances=2),
        Settings(max_batch=1, threads=5, instances=2),
    ):
        open_tiny(folder, settings)
    assert asked == ["6", "3", "3", "5", "5"]
    open_tiny(folder, SETTINGS, options=RunOptions(options={"threads": "2"}))
    assert asked[-1] == "2"


def test_a_closed_model_has_no_sessions(folder):
    model = open_tiny(folder)
    model.close()
    with pytest.raises(IndexError):
        model.run({"image": images(1)}, 0)


def test_no_error_hides_the_path(folder):
    (folder / "manifest.json").write_text("[]")
    assert re.search(str(folder), str(refuse(folder, BundleError)))
