import threading

import numpy as np
import pytest
from stand_in_tensorrt import batch

from nd_deploy.errors import InputError

TWO_PROFILES = (((1, 3), (1, 3), (8, 3)), ((4, 3), (16, 3), (16, 3)))


class TestRunning:
    def test_outputs_are_the_engines(self, make_runner):
        feeds = batch(2)
        outputs = make_runner().run(feeds)
        assert list(outputs) == ["y"]
        assert np.array_equal(outputs["y"], 2 * feeds["x"])

    def test_outputs_of_one_run_are_not_those_of_the_next(self, make_runner):
        runner = make_runner()
        first = runner.run(batch(2))["y"]
        runner.run(batch(2, start=50))
        assert np.array_equal(first, 2 * batch(2)["x"])

    def test_shapes_may_change_between_runs(self, make_runner):
        runner = make_runner()
        for size in (1, 4, 2, 4):
            feeds = batch(size, start=size)
            assert np.array_equal(runner.run(feeds)["y"], 2 * feeds["x"])

    @pytest.mark.parametrize(("name", "dtype"), [("HALF", "f2"), ("INT32", "i4")])
    def test_other_dtypes(self, make_runner, name, dtype):
        feeds = batch(2, dtype)
        result = make_runner(dtype=name).run(feeds)["y"]
        assert result.dtype == dtype
        assert np.array_equal(result, 2 * feeds["x"])

    def test_arrays_that_are_not_contiguous(self, make_runner):
        x = np.arange(6, dtype="f4").reshape(3, 2).T
        assert np.array_equal(make_runner().run({"x": x})["y"], 2 * x)

    def test_an_empty_batch(self, make_runner):
        empty = make_runner(profiles=(((0, 3), (2, 3), (4, 3)),))
        assert empty.run(batch(0))["y"].shape == (0, 3)

    def test_threads_take_turns(self, make_runner):
        runner, wrong = make_runner(), []

        def work(start):
            for turn in range(20):
                feeds = batch(1 + turn % 4, start=start)
                if not np.array_equal(runner.run(feeds)["y"], 2 * feeds["x"]):
                    wrong.append(start)

        threads = [threading.Thread(target=work, args=(100 * n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []

    def test_the_gpu_is_set_in_every_thread(self, make_runner, cuda):
        cuda.count = 2
        runner = make_runner(options={"device": 1})
        cuda.log.clear()
        runner.run(batch(1))
        assert cuda.log[0] == "use 1"

    def test_everything_is_given_back(self, make_runner, cuda):
        with make_runner() as runner:
            runner.run(batch(4))
            assert cuda.leaks
        assert not cuda.leaks
        runner.run(batch(2))
        runner.close()
        assert not cuda.leaks

    def test_bigger_shapes_take_the_place_of_smaller_ones(self, make_runner, cuda):
        runner = make_runner()
        for size in (1, 2, 4):
            runner.run(batch(size))
        assert sorted(array.nbytes for array in cuda.device.values()) == [48, 48]


class TestFeeds:
    @pytest.mark.parametrize(
        ("feeds", "said"),
        [
            ({}, "'x' is missing; expected: 'x' float32 (?, 3)"),
            (batch(2) | {"z": np.zeros(1)}, "no input 'z'"),
            (batch(2, "f8"), "'x' has dtype float64"),
            ({"x": np.zeros((2, 4), "f4")}, "'x' has shape (2, 4), but the model takes (?, 3)"),
            ({"x": np.zeros(3, "f4")}, "'x' has shape (3)"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, make_runner, feeds, said):
        with pytest.raises(InputError) as caught:
            make_runner().run(feeds)
        assert all(part in str(caught.value).replace("\ngive every input", "") for part in [said])

    def test_a_shape_outside_every_profile_is_refused_with_the_list(self, make_runner):
        with pytest.raises(InputError) as caught:
            make_runner(profiles=TWO_PROFILES).run(batch(17))
        assert caught.value.problem == (
            "the shapes 'x' (17, 3) lie outside every profile of the engine:\n"
            "  profile 0: 'x' from (1, 3) to (8, 3)\n"
            "  profile 1: 'x' from (4, 3) to (16, 3)"
        )
        assert "nd-deploy build" in caught.value.remedy


class TestProfiles:
    @pytest.mark.parametrize(
        ("size", "profile"), [(1, 0), (3, 0), (9, 1), (16, 1), (4, 0), (5, 1), (8, 1)]
    )
    def test_the_one_that_was_made_for_the_shape_is_used(self, make_runner, size, profile):
        runner = make_runner(profiles=TWO_PROFILES)
        feeds = batch(size)
        assert np.array_equal(runner.run(feeds)["y"], 2 * feeds["x"])
        assert runner._loaded.engine.contexts[-1].profile == profile

    def test_they_may_change_between_runs(self, make_runner):
        runner = make_runner(profiles=TWO_PROFILES)
        for size in (1, 16, 2, 12):
            feeds = batch(size)
            assert np.array_equal(runner.run(feeds)["y"], 2 * feeds["x"])

    def test_one_that_is_asked_for_is_used_or_nothing(self, make_runner):
        runner = make_runner(profiles=TWO_PROFILES, options={"profile": 1})
        assert runner.receipt.options["profile"] == "1"
        runner.run(batch(5))
        assert runner._loaded.engine.contexts[-1].profile == 1
        with pytest.raises(InputError, match="outside profile 1"):
            runner.run(batch(2))

    def test_one_that_does_not_exist_is_refused(self, make_runner):
        with pytest.raises(InputError, match="has no profile 2"):
            make_runner(profiles=TWO_PROFILES, options={"profile": 2})
