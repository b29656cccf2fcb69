import torch

from nd_deploy.open_axes import examples, open_axes


def test_one_sample_is_doubled_for_the_trace_and_so_is_all_that_is_one_sample():
    image, vector, template = torch.zeros(1, 3, 4, 4), torch.zeros(1, 5), torch.zeros(2, 5)
    assert [x.shape[0] for x in examples((image, vector, template), True)] == [2, 2, 2]
    assert [x.shape[0] for x in examples((image, vector, template), False)] == [1, 1, 2]
    assert [x.shape[0] for x in examples((template, image), True)] == [2, 1]


def test_an_axis_of_size_1_is_closed():
    inputs = torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 1, 1), torch.zeros(2), torch.zeros(())
    assert open_axes(inputs, batch=True, spatial=True) == (
        {0: "batch", 2: "height", 3: "width"},
        {0: "batch"},
        {0: "batch"},
        {},
    )
    assert open_axes(inputs, batch=False, spatial=False) == ({}, {}, {}, {})
