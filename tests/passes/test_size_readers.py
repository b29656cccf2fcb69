"""A Shape node reads how large a tensor is, so that it is no obstacle to a fold."""

import pytest
from graphs import rewrite

from nd_deploy.passes.base import Action
from nd_deploy.passes.fold_batch_norm import FoldBatchNorm
from nd_deploy.passes.push_channel_deconv import PushChannelDeconv

MAP = "float[2] mu, float[2,2] D"
NORM = "float[4] scale, float[4] shift, float[4] mean, float[4] var"


def test_a_channel_deconv_folds_forward_through_a_resize_to_its_own_size():
    found = rewrite(
        f"""(float[N,4,H,W] x) => (float[N,5,h,w] y)
        <{MAP}, float[5,4,1,1] weight>
        {{
            [white] a = nd_deploy.NDChannelDeconv(x, mu, D)
            pooled = GlobalAveragePool(a)
            size = Shape(a)
            [up] wide = Resize <mode="linear"> (pooled, , , size)
            [conv] y = Conv(wide, weight)
        }}""",
        PushChannelDeconv(),
    )
    assert found.ops == ["GlobalAveragePool", "Shape", "Resize", "Conv"]
    assert (found.decision.action, found.decision.into) == (Action.FORWARD, ("conv",))


@pytest.mark.parametrize("op", ["Shape", "Size"])
def test_a_layer_whose_size_is_read_takes_up_what_follows_it(op):
    rank = "" if op == "Size" else "r"
    found = rewrite(
        f"""(float[N,3,H,W] x) => (float[N,4,h,w] y, int64[{rank}] size)
        <{MAP}, {NORM}, float[4,3,3,3] weight>
        {{
            [conv] a = Conv <pads=[1,1,1,1]> (x, weight)
            size = {op}(a)
            [bn] b = BatchNormalization(a, scale, shift, mean, var)
            [white] c = nd_deploy.NDChannelDeconv(b, mu, D)
            y = Relu(c)
        }}""",
        FoldBatchNorm(),
        PushChannelDeconv(),
    )
    assert found.ops == ["Conv", op, "Relu"]
    assert [decision.action for decision in found.decisions] == [Action.BACKWARD] * 2


def test_a_channel_deconv_of_which_only_the_size_is_read_vanishes():
    found = rewrite(
        f"""(float[N,4,H,W] x) => (int64[r] size) <{MAP}>
        {{ [white] a = nd_deploy.NDChannelDeconv(x, mu, D) size = Shape(a) }}""",
        PushChannelDeconv(),
    )
    assert found.ops == ["Shape"]
    assert (found.decision.action, found.decision.into) == (Action.FORWARD, ())


def test_a_tensor_that_gives_a_size_to_a_reshape_and_is_reshaped_itself_still_refuses():
    found = rewrite(
        f"""(float[N,4,H,W] x) => (float[a,b] y) <{MAP}, int64[1] minus>
        {{
            [white] a = nd_deploy.NDChannelDeconv(x, mu, D)
            channels = Shape <start=1, end=2> (a)
            target = Concat <axis=0> (minus, channels)
            [view] y = Reshape(a, target)
        }}""",
        PushChannelDeconv(),
        minus=[-1],
    )
    assert "view" in found.refusal
