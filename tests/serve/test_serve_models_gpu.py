"""What a model on a GPU is opened and run with, without a GPU: its runners are numpy."""

import threading

import numpy as np
import pytest
from served_bundle import edit_manifest, images, scores, write

from nd_deploy.errors import InputError
from nd_deploy.runtime.base import Receipt
from nd_deploy.runtime.options import RunOptions
from nd_deploy.serve.models import loading
from nd_deploy.serve.models.loading import load
from nd_deploy.serve.settings import Settings


class NumpyRunner:
    """The tiny model in numpy, and which batches it ran."""

    receipt = Receipt("numpy", "2", ("CUDAExecutionProvider",), ("CUDAExecutionProvider",))

    def __init__(self):
        self.batches = []
        self.threads = set()

    def run(self, feeds):
        self.threads.add(threading.current_thread())
        self.batches.append(len(feeds["image"]))
        return {"logits": scores(feeds["image"])}


@pytest.fixture
def opened(monkeypatch):
    """Every runner that is opened, with the options that it was opened with."""
    found = []

    def opener(model, runtime, options):
        found.append((NumpyRunner(), options))
        return found[-1][0]

    monkeypatch.setattr(loading, "open_runner", opener)
    return found


def open_on(runtime, folder, options=None, **settings):
    chosen = Settings(**({"max_batch": 6} | settings))
    return load(folder, "tiny", "1", chosen, runtime, options)


@pytest.mark.parametrize(
    ("largest", "buckets"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (32, [1, 2, 4, 8, 16, 32])]
)
def test_every_bucket_is_warm_in_every_instance(tmp_path, opened, largest, buckets):
    open_on("ort-cuda", write(tmp_path / "bundle"), max_batch=largest, instances=2)
    assert len(opened) == 2
    for runner, _ in opened:
        assert runner.batches[-len(buckets) :] == buckets


@pytest.mark.parametrize(("batch", "bucket"), [(1, 1), (3, 4), (5, 6), (6, 6)])
def test_batches_are_filled_up_and_their_outputs_cut_off(tmp_path, opened, batch, bucket):
    model = open_on("ort-cuda", write(tmp_path / "bundle"))
    x = images(batch, seed=5)
    outputs = model.run({"image": x}, 0)
    assert opened[0][0].batches[-1] == bucket
    np.testing.assert_array_equal(outputs["logits"], scores(x))


def test_batches_that_outputs_depend_on_are_never_filled_up(tmp_path, opened):
    model = open_on("ort-cuda", write(tmp_path / "bundle", batch_dependent=True))
    model.run({"image": images(3)}, 0)
    assert opened[0][0].batches == [4, 3]


def test_tensorrt_builds_one_engine_for_all_batches(tmp_path, opened):
    folder = write(tmp_path / "bundle")
    open_on("ort-tensorrt", folder)
    assert opened[-1][1].batch == "1:6:6"
    open_on("ort-tensorrt", folder, RunOptions(batch="1:2:6"))
    assert opened[-1][1].batch == "1:2:6"
    open_on("ort-tensorrt", write(tmp_path / "closed", batch="4"))
    assert opened[-1][1].batch is None


def test_cuda_graphs_are_captured_and_replayed_in_one_thread_an_instance(tmp_path, opened):
    folder = write(tmp_path / "bundle")
    model = open_on("ort-cuda", folder, RunOptions(cuda_graph=True), instances=2)
    x = images(3)
    for instance in range(2):
        np.testing.assert_array_equal(model.run({"image": x}, instance)["logits"], scores(x))
    (first, options), (second, _) = opened
    assert options.cuda_graph
    assert first.batches == second.batches == [4, 1, 2, 4, 6, 4]
    ((one,), (other,)) = first.threads, second.threads
    assert len({one, other, threading.current_thread()}) == 3
    model.close()
    one.join(timeout=30)
    assert not one.is_alive()


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_dependent": True},
        {"inputs": [{"name": "image", "dtype": "float32", "shape": ["batch", 1, "height", 2]}]},
    ],
)
def test_cuda_graphs_of_shapes_that_only_clients_know_are_refused(tmp_path, opened, changes):
    folder = write(tmp_path / "bundle")
    edit_manifest(folder, **changes)
    with pytest.raises(InputError, match="--cuda-graph"):
        open_on("ort-cuda", folder, RunOptions(cuda_graph=True))
    assert not opened
