import numpy as np
import pytest
from stand_in_tensorrt import batch

from nd_deploy.errors import BackendError
from nd_deploy.runtime.tensorrt.running import runner
from nd_deploy.runtime.tensorrt.running.buffers import Event, Stream


class TestGraphs:
    @pytest.fixture
    def graphs(self, make_runner):
        return make_runner(options={"cuda_graph": True}, profiles=(((1, 3), (2, 3), (16, 3)),))

    def test_a_shape_is_captured_once_and_replayed(self, graphs, cuda):
        for start in (0, 10, 20):
            feeds = batch(2, start=start)
            assert np.array_equal(graphs.run(feeds)["y"], 2 * feeds["x"])
        calls = [call for call in cuda.log if not call.startswith("use")]
        assert calls == ["execute", "record", "launch", "launch", "launch"]

    def test_shapes_have_graphs_of_their_own(self, graphs, cuda):
        for size in (1, 2, 1, 2, 3):
            feeds = batch(size)
            assert np.array_equal(graphs.run(feeds)["y"], 2 * feeds["x"])
        assert cuda.log.count("record") == 3

    def test_the_shapes_used_last_are_kept(self, graphs, cuda):
        for size in (1, 2, 3, 4, 1, 5):
            graphs.run(batch(size))
        assert len(cuda.graphs) == runner._GRAPHS_KEPT == 4
        recorded = cuda.log.count("record")
        graphs.run(batch(1))
        assert cuda.log.count("record") == recorded
        graphs.run(batch(2))
        assert cuda.log.count("record") == recorded + 1

    @pytest.mark.parametrize("fails", ["begin_capture", "end_capture"])
    def test_what_cannot_be_captured_is_an_error_and_not_run_otherwise(self, graphs, cuda, fails):
        cuda.fails.add(fails)
        with pytest.raises(BackendError, match="cudaErrorLaunchFailure"):
            graphs.run(batch(2))
        assert not cuda.leaks

    def test_tensorrt_may_say_that_it_cannot_be_captured(self, make_runner, cuda):
        runner = make_runner(options={"cuda_graph": True}, capturable=False)
        with pytest.raises(BackendError, match="cannot be captured"):
            runner.run(batch(2))
        assert not cuda.leaks
        assert np.array_equal(
            make_runner(options={"cuda_graph": True}, capturable=True).run(batch(1))["y"],
            2 * batch(1)["x"],
        )

    def test_are_given_back(self, graphs, cuda):
        graphs.run(batch(1))
        graphs.run(batch(2))
        graphs.close()
        assert not cuda.leaks


class TestPrepared:
    @pytest.mark.parametrize("graph", [False, True])
    def test_runs_on_the_same_arrays_time_and_again(self, make_runner, cuda, graph):
        feeds = batch(3)
        with make_runner(options={"cuda_graph": graph}).prepare(feeds) as prepared:
            assert prepared.captured is graph
            cuda.log.clear()
            for _ in range(5):
                prepared.enqueue()
            prepared.synchronise()
            assert cuda.log == ["launch" if graph else "execute"] * 5
            assert np.array_equal(prepared.download()["y"], 2 * feeds["x"])
        assert not cuda.leaks

    def test_can_be_timed_in_a_stream_of_somebody_elses(self, make_runner, cuda):
        with (
            make_runner().prepare(batch(3)) as prepared,
            Stream(cuda) as stream,
            Event(cuda) as start,
            Event(cuda) as end,
        ):
            start.record(stream)
            prepared.enqueue(stream)
            end.record(stream)
            end.synchronise()
            assert end.ms_since(start) > 0
            assert np.array_equal(prepared.download()["y"], 2 * batch(3)["x"])

    def test_does_not_disturb_the_runner(self, make_runner):
        runner = make_runner()
        with runner.prepare(batch(3)) as prepared:
            assert np.array_equal(runner.run(batch(1, start=7))["y"], 2 * batch(1, start=7)["x"])
            prepared.enqueue()
            assert np.array_equal(prepared.download()["y"], 2 * batch(3)["x"])

    def test_takes_new_inputs(self, make_runner):
        with make_runner().prepare(batch(3)) as prepared:
            prepared.upload(batch(3, start=9))
            prepared.enqueue()
            assert np.array_equal(prepared.download()["y"], 2 * batch(3, start=9)["x"])

    @pytest.mark.parametrize("graph", [False, True])
    def test_copies_can_be_timed_on_their_own(self, make_runner, cuda, graph):
        with make_runner(options={"cuda_graph": graph}).prepare(batch(3)) as prepared:
            for memory in cuda.device.values():
                memory.fill(0)
            prepared.upload_again()
            prepared.enqueue()
            prepared.start_download()
            assert np.array_equal(prepared.finish_download()["y"], 2 * batch(3)["x"])

    def test_tells_what_its_memory_is_for(self, make_runner):
        with make_runner(device_memory=200).prepare(batch(3)) as prepared:
            assert prepared.memory == {
                "activations": 200,
                "inputs and outputs": 2 * batch(3)["x"].nbytes,
            }

    def test_new_inputs_wait_until_the_ones_before_are_copied(self, make_runner):
        with make_runner().prepare(batch(3)) as prepared:
            prepared.upload(batch(3, start=9))
            prepared.enqueue()
            prepared.upload(batch(3, start=18))
            assert np.array_equal(prepared.download()["y"], 2 * batch(3, start=9)["x"])
