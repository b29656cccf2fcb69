"""Which way TensorRT's parser takes for a node with a plugin, a body, both or neither.

The rule of the parser from 10.15 on, which TensorRT-RTX shares. The 24 cells are parsed in three
processes, one for each state of the plugin registry.
"""

import functools
import itertools

import pytest
from onnx import parser
from rtx import Job, needs_rtx, run

from nd_deploy.nd import dialect

pytestmark = [pytest.mark.tensorrt, needs_rtx]

REGISTERED = {"no plugin": None, "a plugin of our namespace": "nd_deploy", "one without": ""}
FORMS = list(itertools.product([False, True], repeat=3))  # attributes, body, override

PLUGIN, BODY, REFUSED = "plugin", "body", "refused"


def expected(registered, attributes, body, override):
    """The table, rule by rule."""
    if registered is None:
        return BODY if body else REFUSED
    if not body:
        return PLUGIN
    if attributes:
        return PLUGIN
    # Without the attribute only the flag asks for a plugin, and looks it up without a namespace.
    return PLUGIN if override and registered == "" else BODY


def model(namespace, body):
    """One NDChannelDeconv that says where its plugin is, or does not."""
    made = parser.parse_model(
        """<ir_version: 10, opset_import: ["": 18, "nd_deploy": 1]>
        network (float[N, 8, H, W] x) => (float[N, 8, H, W] y)
        <float[2] mean = {0.5, 1}, float[2, 2] D = {1, 0, 0.25, 1}>
        { y = nd_deploy.NDChannelDeconv (x, mean, D) }"""
    )
    dialect.attach_functions(made)
    (node,) = made.graph.node
    if namespace is None:
        del node.attribute[:]
    else:
        (stated,) = (a for a in node.attribute if a.name == "plugin_namespace")
        stated.s = namespace.encode()
    if not body:
        del made.functions[:]
    return made


@functools.cache
def outcomes(registered):
    stated = dialect.DOMAIN if registered is None else registered
    jobs = [Job(model(stated if says else None, body), override=flag) for says, body, flag in FORMS]
    twins = [] if registered is None else [registered]
    return dict(zip(FORMS, run(jobs, twins=twins), strict=True))


@pytest.mark.parametrize("registered", REGISTERED.values(), ids=REGISTERED)
@pytest.mark.parametrize("attributes", [False, True], ids=["bare", "attributes"])
@pytest.mark.parametrize("body", [False, True], ids=["no body", "body"])
@pytest.mark.parametrize("override", [False, True], ids=["default", "override"])
def test_a_node_takes_the_way_of_the_table(registered, attributes, body, override):
    outcome = outcomes(registered)[attributes, body, override]
    assert outcome.path == expected(registered, attributes, body, override)
    if outcome.path == PLUGIN:
        assert outcome.plugins == [["NDChannelDeconv", "1", registered]]
        assert "MATRIX_MULTIPLY" not in outcome.layers
    if outcome.path == BODY:
        assert "MATRIX_MULTIPLY" in outcome.layers
    if outcome.path == REFUSED:
        assert "Plugin not found" in outcome.errors[0]


@pytest.mark.parametrize("body", [False, True], ids=["no body", "body"])
def test_a_plugin_of_another_namespace_is_not_the_nodes(body):
    jobs = [Job(model("nd_deploy", body), override=override) for override in (False, True)]
    for outcome in run(jobs, twins=[""]):
        assert outcome.path == (BODY if body else REFUSED)


def test_a_function_with_the_name_of_a_standard_op_is_quietly_replaced_by_it():
    """Why the names matter; once this fails the rule is gone."""
    made = parser.parse_model(
        """<ir_version: 10, opset_import: ["": 18, "nd_deploy": 1]>
        network (float[2, 8] x) => (float[2, 8] y) { y = nd_deploy.Softmax (x) }"""
    )
    body = parser.parse_function(
        '<domain: "nd_deploy", opset_import: ["": 18]> Softmax (x) => (y) { y = Neg (x) }'
    )
    made.functions.append(body)
    (outcome,) = run([Job(made)])
    assert "SOFTMAX" in outcome.layers
    assert "UNARY" not in outcome.layers


@pytest.mark.parametrize(
    ("formals", "product"),
    [("(first, second)", "MatMul (first, second)"), ("(second, first)", "MatMul (second, first)")],
    ids=["apart", "clashing"],
)
def test_an_argument_is_mistaken_for_an_earlier_parameter_of_its_name(formals, product):
    """The parser binds one argument after the other, and looks the next up among those bound.

    So no parameter of our bodies may have a name that a model gives to another tensor.
    """
    made = parser.parse_model(
        """<ir_version: 10, opset_import: ["": 18, "nd_deploy": 1]>
        network (float[2, 8] x, float[8, 2] second) => (float[2, 2] y)
        { y = nd_deploy.NDProduct (x, second) }"""
    )
    made.functions.append(
        parser.parse_function(
            f'<domain: "nd_deploy", opset_import: ["": 18]> NDProduct {formals} => (y)'
            f"{{ y = {product} }}"
        )
    )
    (outcome,) = run([Job(made)])
    if formals == "(first, second)":
        assert not outcome.errors
    else:
        assert "must match" in outcome.errors[0]
