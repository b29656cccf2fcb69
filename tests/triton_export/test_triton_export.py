import hashlib
import json
import os
import re

import numpy as np
import onnx
import pytest
from tiny_bundle import model
from triton_models import ND_LAYER_WITHOUT_BODY, OPEN_SIZES, parsed

from nd_deploy.errors import BundleError, InputError
from nd_deploy.triton.export import export_triton


@pytest.fixture
def refuse(tmp_path):
    def refused(bundle, output="repo", **how):
        with pytest.raises(InputError) as caught:
            export_triton(getattr(bundle, "path", bundle), tmp_path / output, **how)
        return str(caught.value)

    return refused


class TestRepository:
    def test_the_model_is_in_a_folder_of_its_own_and_the_rest_beside_it(self, bundle, tmp_path):
        repo = tmp_path / "new" / "repo"
        written = export_triton(bundle, repo, compose=True, kserve=True)
        assert sorted(path.relative_to(repo).as_posix() for path in written) == [
            "compose.yaml",
            "kserve.yaml",
            "nd_manifest.json",
            "tiny/1/model.onnx",
            "tiny/config.pbtxt",
            "tiny/labels.txt",
        ]
        assert all(path.is_file() for path in written)
        assert (repo / "tiny/labels.txt").read_text() == "cat\ndog\n[red]\n"
        assert (repo / "tiny/1/model.onnx").read_bytes() == (bundle / "model.onnx").read_bytes()

    def test_weights_in_a_file_of_their_own_come_along(self, make_bundle, tmp_path):
        proto = model()
        weight = onnx.numpy_helper.from_array(np.ones((4, 300), np.float32), "weight")
        proto.graph.initializer[0].CopyFrom(weight)
        proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 300
        bundle = make_bundle(model=proto, labels=None, external_data_over=0)
        export_triton(bundle.path, tmp_path / "repo")
        copied = onnx.load(tmp_path / "repo/tiny/1/model.onnx")
        assert (onnx.numpy_helper.to_array(copied.graph.initializer[0]) == 1).all()

    def test_the_record_has_the_hash_of_every_file(self, bundle, tmp_path):
        repo = tmp_path / "repo"
        written = export_triton(bundle, repo, name="other", compose=True)
        record = json.loads((repo / "nd_manifest.json").read_text())
        assert set(record["files"]) == {
            path.relative_to(repo).as_posix() for path in written if path.suffix != ".json"
        }
        for name, digest in record["files"].items():
            assert hashlib.sha256((repo / name).read_bytes()).hexdigest() == digest
        assert (record["model"], record["triton"], record["onnxruntime"]) == (
            "other",
            "26.10",
            "1.27.0",
        )
        model_hash = hashlib.sha256((bundle / "model.onnx").read_bytes()).hexdigest()
        assert record["bundle"]["model_sha256"] == model_hash


class TestOutput:
    def test_what_is_there_stays_unless_it_may_be_replaced(self, bundle, tmp_path, refuse):
        export_triton(bundle, tmp_path / "repo")
        assert "exists already" in refuse(bundle)
        export_triton(bundle, tmp_path / "repo", name="other", overwrite=True)
        names = {path.name for path in (tmp_path / "repo").iterdir()}
        assert names == {"other", "nd_manifest.json"}

    def test_nothing_but_a_repository_is_replaced(self, bundle, tmp_path, refuse):
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "photo.jpg").touch()
        assert "is no repository" in refuse(bundle, "mine", overwrite=True)
        export_triton(bundle, tmp_path / "repo")
        (tmp_path / "repo/tiny/2").mkdir()
        (tmp_path / "repo/tiny/2/model.onnx").touch()
        assert "not the repository's: tiny/2/model.onnx" in refuse(bundle, overwrite=True)
        assert (tmp_path / "repo/tiny/2/model.onnx").exists()

    def test_a_refusal_leaves_nothing(self, make_bundle, tmp_path, refuse):
        bundle = make_bundle(model=parsed(ND_LAYER_WITHOUT_BODY), labels=None)
        assert "without a function body" in refuse(bundle)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny"]

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write to any folder")
    def test_a_folder_that_may_not_be_written_is_told(self, bundle, tmp_path, refuse):
        (tmp_path / "closed").mkdir(mode=0o500)
        assert "cannot be written" in refuse(bundle, "closed/repo")


class TestRefusals:
    def test_a_damaged_bundle(self, bundle, tmp_path):
        (bundle / "model.onnx").write_bytes(b"something else")
        with pytest.raises(BundleError, match="has changed since it was written"):
            export_triton(bundle, tmp_path / "repo")

    @pytest.mark.parametrize("target", ["tensorrt", "tensorrt<=10.6", "ort-tensorrt"])
    def test_a_bundle_for_another_kind_of_host(self, make_bundle, refuse, target):
        message = refuse(make_bundle(target=target))
        assert f"is written for '{target}'" in message
        assert "--target portable or inlined" in message

    @pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b", "x" * 129])
    def test_a_name_that_is_no_folder_of_a_url(self, make_bundle, refuse, name):
        message = refuse(make_bundle(), name=name or " ")
        assert "is no name for a model of Triton" in message
        assert "--name NAME" in message

    def test_labels_that_are_not_as_many_as_the_classes(self, bundle, refuse):
        # As a bundle's writer would not let it pass.
        manifest = json.loads((bundle / "manifest.json").read_text())
        (bundle / "manifest.json").write_text(json.dumps(manifest | {"labels": ["cat", "dog"]}))
        assert "there are 2 labels for the network's 3 classes" in refuse(bundle)

    def test_a_label_that_ends_a_line(self, make_bundle, refuse):
        message = refuse(make_bundle(labels=("cat", "dog\nfox", "owl")))
        assert "label 'dog\\nfox' ends a line" in message

    def test_a_batch_for_a_model_that_fixes_it(self, make_bundle, refuse):
        message = refuse(make_bundle(model=model(batch="4")), max_batch=8)
        assert "--max-batch: the batch is fixed" in message
        assert "image [4, 1, 2, 2]" in message
        assert "--max-batch is 0" in refuse(make_bundle("other"), max_batch=0)

    def test_a_model_that_is_newer_than_the_release_reads(self, make_bundle, refuse):
        newer = model()
        newer.opset_import[0].version = 27
        newer.ir_version = 14
        message = refuse(make_bundle(model=newer))
        assert "opset 27: Triton 26.10 has ONNX Runtime 1.27.0, which reads up to 26" in message
        assert (
            "IR version 14: Triton 26.10 has ONNX Runtime 1.27.0, which reads up to 13" in message
        )

    def test_open_sizes_without_shapes_to_build_for(self, make_bundle, refuse):
        bundle = make_bundle(model=parsed(OPEN_SIZES), reference={}, labels=None)
        assert "--shape image=BATCHx1xHEIGHTxWIDTH" in refuse(bundle, accelerator="tensorrt")
        shape = "image=1x1x8x8:8x1x8x8:16x1x8x8"
        message = refuse(bundle, accelerator="tensorrt", shapes=[shape])
        assert re.search(r"which --max-batch makes 1:8:32 and --shape 1:8:16", message)

    def test_a_name_that_the_providers_options_cannot_hold(self, make_bundle, refuse):
        proto = parsed(OPEN_SIZES)
        proto.graph.input[0].name = proto.graph.node[0].input[0] = "net::image"
        bundle = make_bundle(model=proto, reference={}, labels=None)
        message = refuse(bundle, accelerator="tensorrt", shapes=["net::image=1x1x8x8"])
        assert "input 'net::image' has a sign that separates shapes" in message

    @pytest.mark.parametrize(
        ("how", "problem"),
        [
            ({"accelerator": "tpu"}, "there is no accelerator 'tpu'"),
            ({"accelerator": "plan"}, "--accelerator plan goes with --engine"),
            ({"engine": "x.engine"}, "--accelerator cpu goes without --engine"),
            ({"tensorrt": "10.16.1"}, "--tensorrt says what a plan is run by"),
            ({"shapes": ["image=1x1x2x2"]}, "--shape is of the engines that ONNX Runtime builds"),
            ({"threads": 0}, "--threads is 0"),
            ({"instances": 0}, "--instances is 0"),
            ({"image": "nvcr.io/nvidia/tritonserver:24.10-py3"}, "critical holes"),
        ],
    )
    def test_options_that_make_no_sense(self, bundle, refuse, how, problem):
        assert problem in refuse(bundle, **how)
