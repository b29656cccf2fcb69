import numpy as np
import pytest
from graphs import parse, rewrite

from nd_deploy.passes.base import PassResult
from nd_deploy.passes.cleanup import Cleanup
from nd_deploy.passes.model import load


def clean(text, **options):
    return rewrite(text, Cleanup(), **options)


def test_identities_and_dropouts_are_removed():
    found = clean(
        """(float[N,4] x) => (float[N,4] y) <float[4] ratio>
        {
            a = Identity(x) b = Dropout(a) half = Constant <value_float=0.5> ()
            c = Dropout(b, half) d = Relu(c) e = Identity(d) y = Abs(e)
        }"""
    )
    assert found.ops == ["Relu", "Abs"]
    assert found.results == [PassResult("cleanup")]


def test_dropout_that_is_told_not_to_train_is_removed():
    found = clean(
        """(float[N,4] x) => (float[N,4] y) <float ratio, bool training>
        { a = Dropout(x, ratio, training) y = Relu(a) }""",
        ratio=0.5,
        training=False,
    )
    assert found.ops == ["Relu"]


def test_dropout_that_trains_stays():
    found = clean(
        """(float[N,4] x) => (float[N,4] y) <float ratio, bool training>
        { a = Dropout(x, ratio, training) y = Relu(a) }""",
        ratio=0.5,
        training=True,
        runs=False,
    )
    assert found.ops == ["Dropout", "Relu"]


def test_dropout_that_may_train_stays():
    found = clean(
        """(float[N,4] x, bool training) => (float[N,4] y) <float ratio>
        { a = Dropout(x, ratio, training) y = Relu(a) }""",
        ratio=0.0,
    )
    assert found.ops == ["Dropout", "Relu"]


@pytest.mark.parametrize(
    "text",
    [
        """(float[N,4] x) => (float[N,4] y, bool[N,4] kept)
        { a, kept = Dropout(x) y = Relu(a) }""",
        """(float[N,4] x) => (float[N,4] y, bool[N,4] dropped)
        { a, kept = Dropout(x) y = Relu(a) dropped = Not(kept) }""",
    ],
    ids=["as an output", "by a node"],
)
def test_dropout_whose_mask_is_read_stays(text):
    assert "Dropout" in clean(text).ops


def test_outputs_keep_their_names():
    found = clean(
        """(float[N,4] x) => (float[N,4] y, float[N,4] z, float[N,4] u)
        { a = Relu(x) y = Identity(a) b = Identity(a) z = Dropout(b) u = Abs(z) }"""
    )
    assert found.ops == ["Relu", "Identity", "Dropout", "Abs"]
    assert [t.name for t in found.model.graph.output] == ["y", "z", "u"]


def test_what_nobody_reads_is_removed_and_inputs_stay():
    found = clean(
        """(float[N,4] x, float[N,4] unread) => (float[N,4] y) <float[4] w, float[4] orphan>
        { a = Relu(x) b = Add(x, orphan) c = Neg(b) y = Mul(a, w) }"""
    )
    assert found.ops == ["Relu", "Mul"]
    assert [t.name for t in found.model.graph.input] == ["x", "unread"]
    assert [t.name for t in found.model.graph.initializer] == ["w"]


def test_a_parameter_behind_an_identity_becomes_the_readers_own():
    found = clean(
        """(float[N,4,H,W] x) => (float[N,5,h,w] y) <float[5,4,1,1] weight>
        { same = Identity(weight) y = Conv(x, same) }"""
    )
    assert found.ops == ["Conv"]
    assert found.graph.nodes[0].inputs[1].name == "weight"


def test_the_nodes_are_sorted():
    graph = load(
        parse(
            """(float[N,4] x) => (float[N,4] y)
            { a = Relu(x) b = Abs(a) y = Neg(b) }"""
        )
    )
    graph.nodes.reverse()
    Cleanup()(graph)
    assert [node.op for node in graph.nodes] == ["Relu", "Abs", "Neg"]


def test_ops_of_other_domains_that_share_a_name_stay():
    model = parse("""(float[N,4] x) => (float[N,4] y) { a = Identity(x) y = Relu(a) }""")
    model.graph.node[0].domain = "elsewhere"
    opset = model.opset_import.add()
    opset.domain, opset.version = "elsewhere", 1
    graph = load(model)
    Cleanup()(graph)
    assert [node.op for node in graph.nodes] == ["Identity", "Relu"]


def test_a_reader_inside_a_branch_reads_on():
    found = clean(
        """(float[N,4] x, bool positive) => (float[N,4] y)
        {
            a = Identity(x)
            y = If (positive) <
                then_branch = one () => (float[N,4] b) { b = Relu(a) },
                else_branch = other () => (float[N,4] c) { c = Neg(a) }
            >
        }""",
        given={"positive": np.array(False)},
    )
    assert found.ops == ["If"]
