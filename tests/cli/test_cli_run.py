import json

import numpy as np
import pytest
from PIL import Image
from tiny_bundle import model

from nd_deploy.classify import softmax


@pytest.fixture
def image(tmp_path):
    def save(value, name):
        Image.new("L", (2, 2), value).save(tmp_path / name)
        return tmp_path / name

    return save


@pytest.fixture
def arrays(tmp_path):
    def save(name="in.npz", **values):
        np.savez(tmp_path / name, **values)
        return tmp_path / name

    return save


def test_images_get_their_likeliest_labels(bundle, invoke, image):
    bright, dark = image(255, "bright.png"), image(0, "dark.png")
    lines = invoke("run", bundle, bright, dark, "--top-k", 2).stdout.splitlines()
    assert lines[1].split() == [str(bright), "98.20%", "dog"]
    assert lines[2].split() == ["1.80%", "cat"]
    assert lines[3].split() == [str(dark), "33.33%", "cat"]
    assert len(lines) == 5


def test_probabilities_are_the_softmax_of_the_scores(bundle, invoke, image):
    document = json.loads(invoke("run", bundle, image(51, "a.png"), "--json").stdout)
    scores = np.array([0.8, 1.6, -0.8])
    expected = np.exp(scores) / np.exp(scores).sum()
    top = document["images"][0]["top"]
    assert [guess["label"] for guess in top] == ["dog", "cat", "[red]"]
    assert [guess["probability"] for guess in top] == pytest.approx(sorted(expected)[::-1])
    assert [guess["index"] for guess in top] == [1, 0, 2]


def test_softmax_survives_large_scores():
    np.testing.assert_allclose(softmax(np.array([[1e4, 0.0]], np.float32)), [[1.0, 0.0]])


@pytest.mark.parametrize("batch", ["batch", "1", "2", "50"])
def test_any_number_of_images_runs_whatever_the_batch(make_bundle, invoke, image, batch):
    bundle = make_bundle(model=model(batch)).path
    files = [image(value, f"{value}.png") for value in range(0, 200, 5)]
    results = json.loads(invoke("run", bundle, *files, "--json").stdout)["images"]
    assert [result["image"] for result in results] == [str(file) for file in files]
    probabilities = [result["top"][0]["probability"] for result in results]
    assert probabilities == sorted(probabilities)


def test_without_labels_a_class_is_its_number(make_bundle, invoke, image):
    bundle = make_bundle(labels=None).path
    top = json.loads(invoke("run", bundle, image(9, "a.png"), "--json").stdout)["images"][0]["top"]
    assert [guess["label"] for guess in top] == ["1", "0", "2"]


def test_without_preprocessing_pixels_from_0_to_1_are_assumed(make_bundle, invoke, image):
    plain, known = make_bundle("plain", preprocessing=None), make_bundle("known")
    results = [
        json.loads(invoke("run", b.path, image(9, "a.png"), "--json").stdout)
        for b in (plain, known)
    ]
    assert results[0] == results[1]


def test_a_network_that_reads_no_image_asks_for_arrays(make_bundle, invoke, image):
    bundle = make_bundle(model=model(channels=7), preprocessing=None).path
    assert "--npz" in invoke("run", bundle, image(9, "a.png"), code=1).stderr


def test_a_network_that_gives_no_scores_asks_for_arrays(make_bundle, invoke, image):
    proto = model()
    del proto.graph.output[0].type.tensor_type.shape.dim[1]
    bundle = make_bundle(model=proto).path
    assert "--npz" in invoke("run", bundle, image(9, "a.png"), code=1).stderr


def test_a_file_that_is_no_image_is_named(bundle, invoke, tmp_path):
    (tmp_path / "a.png").write_text("text")
    assert "a.png is no image" in invoke("run", bundle, tmp_path / "a.png", code=1).stderr
    assert "no file" in invoke("run", bundle, tmp_path / "none.png", code=1).stderr


def test_arrays_go_in_and_come_out(bundle, invoke, arrays, tmp_path):
    source = arrays(image=np.ones((3, 1, 2, 2), np.float32))
    output = invoke("run", bundle, "--npz", source, "--output", tmp_path / "out.npz").stdout
    assert "logits  float32  3x3     -4    8" in output
    with np.load(tmp_path / "out.npz") as results:
        np.testing.assert_allclose(results["logits"], [[4, 8, -4]] * 3)


def test_arrays_are_described_as_json(bundle, invoke, arrays):
    source = arrays(image=np.ones((3, 1, 2, 2), np.float32))
    document = json.loads(invoke("run", bundle, "--npz", source, "--json").stdout)
    assert document["outputs"] == [
        {"name": "logits", "dtype": "float32", "shape": [3, 3], "min": -4, "max": 8}
    ]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"photo": np.ones((1, 1, 2, 2), np.float32)}, "image"),
        ({"image": np.ones((1, 1, 2, 2))}, "float64"),
        ({"image": np.ones((1, 1, 3, 2), np.float32)}, "shape"),
        ({"image": np.array([{}])}, "cannot be read"),
    ],
)
def test_arrays_that_do_not_fit_are_named(bundle, invoke, arrays, values, complaint):
    assert complaint in invoke("run", bundle, "--npz", arrays(**values), code=1).stderr


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04"])
def test_a_file_that_holds_no_arrays_is_named(bundle, invoke, tmp_path, content):
    (tmp_path / "in.npz").write_bytes(content)
    assert (
        "in.npz cannot be read"
        in invoke("run", bundle, "--npz", tmp_path / "in.npz", code=1).stderr
    )
    np.save(tmp_path / "in.npy", np.ones(3))
    assert "in.npy" in invoke("run", bundle, "--npz", tmp_path / "in.npy", code=1).stderr
    assert "no file" in invoke("run", bundle, "--npz", tmp_path / "none.npz", code=1).stderr


def test_an_output_that_cannot_be_written_is_named(bundle, invoke, arrays, tmp_path):
    source = arrays(image=np.ones((1, 1, 2, 2), np.float32))
    target = tmp_path / "none" / "out.npz"
    assert "--output" in invoke("run", bundle, "--npz", source, "--output", target, code=1).stderr


def test_there_must_be_images_or_arrays_but_not_both(bundle, invoke):
    assert "nothing to run on" in invoke("run", bundle, code=1).stderr
    assert "both" in invoke("run", bundle, "a.png", "--npz", "in.npz", code=1).stderr
    assert "--npz" in invoke("run", bundle, "a.png", "--output", "o.npz", code=1).stderr


def test_a_runtime_that_is_not_here_is_exit_code_3(bundle, invoke, image):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("CUDA is here")
    result = invoke("run", bundle, image(9, "a.png"), "--runtime", "ort-cuda", code=3)
    assert "CUDAExecutionProvider" in result.stderr


def test_a_changed_model_is_not_run(bundle, invoke, image):
    (bundle / "model.onnx").write_bytes(b"")
    assert "has changed" in invoke("run", bundle, image(9, "a.png"), code=1).stderr
