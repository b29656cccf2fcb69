import numpy as np
import pytest
from stand_in_tensorrt import batch

from nd_deploy.errors import BackendError


class TestFailures:
    def test_too_little_memory_to_work_in(self, make_runner, cuda):
        runner = make_runner(device_memory=2_000_000)
        with pytest.raises(BackendError) as caught:
            runner.run(batch(1))
        assert "2.0 MB are needed, 1.0 MB of 1.0 MB are free" in caught.value.problem
        assert not cuda.leaks

    def test_too_little_memory_for_an_input(self, make_runner, cuda):
        cuda.total = 150
        runner = make_runner(profiles=(((1, 3), (2, 3), (99, 3)),))
        with pytest.raises(BackendError) as caught:
            runner.run(batch(99))
        assert "input 'x' of shape (99, 3): 1.2 kB are needed, 150 bytes of" in caught.value.problem
        assert not cuda.leaks
        assert np.array_equal(runner.run(batch(1))["y"], 2 * batch(1)["x"])

    def test_too_little_pinned_memory(self, make_runner, cuda):
        cuda.fails.add("allocate_host")
        with pytest.raises(BackendError):
            make_runner().run(batch(1))
        assert not cuda.leaks

    @pytest.mark.parametrize(
        ("said", "told"),
        [("OutOfMemory (no further information)", "too little memory"), ("a bug", "a bug")],
    )
    def test_no_context(self, make_runner, said, told):
        with pytest.raises(BackendError, match=told):
            make_runner(no_context=said).run(batch(1))

    def test_tensorrts_own_words_are_quoted(self, make_runner, cuda):
        runner = make_runner(fails="the plugin returned 7")
        with pytest.raises(BackendError, match="cannot run the engine: the plugin returned 7"):
            runner.run(batch(1))
        assert not cuda.leaks

    def test_a_shape_that_tensorrt_refuses(self, make_runner):
        with pytest.raises(BackendError, match=r"take the shape \(1, 3\) of input 'x'"):
            make_runner(picky=True).run(batch(1))

    def test_a_profile_that_tensorrt_refuses(self, make_runner):
        with pytest.raises(BackendError, match="change to profile 1"):
            make_runner(
                stuck=True, profiles=(((1, 3), (1, 3), (8, 3)), ((4, 3), (16, 3), (16, 3)))
            ).run(batch(16))

    def test_an_error_on_the_gpu(self, make_runner, cuda):
        runner = make_runner()
        runner.run(batch(1))
        cuda.fails.add("synchronise")
        with pytest.raises(BackendError, match="start a new process"):
            runner.run(batch(1))

    def test_an_output_whose_size_depends_on_the_data(self, make_runner, cuda):
        with pytest.raises(BackendError, match="size of output 'y' depends on the values"):
            make_runner(data_dependent=True).run(batch(2))
        assert not cuda.leaks

    @pytest.mark.parametrize(
        ("facts", "said"),
        [
            ({"location": "HOST"}, "'x' lies in host memory"),
            ({"format": "CHW32"}, "'x' is not laid out as an array: Thirty-two"),
            ({"dtype": "FP8"}, "'x' has the type FP8"),
        ],
    )
    def test_tensors_that_no_array_can_be(self, make_runner, facts, said):
        with pytest.raises(BackendError, match=said):
            make_runner(**facts)
