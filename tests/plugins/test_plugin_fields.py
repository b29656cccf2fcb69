"""The C++ plugins' creators, fields and messages, asked for as TensorRT does."""

import subprocess
import sys

import numpy as np
import pytest
import v3
from plugin_cases import ALL, BOTH_DYNAMIC, CHANNEL, FAST, FIELDS, SHAPE_OF, ints, one_float
from v3 import RefusedError


def test_the_library_has_every_op_and_nothing_else(host):
    assert set(host.creators) == {(op, "1", "nd_deploy") for op in ALL}


def test_creators_ask_for_the_attributes_that_their_plugins_need(host):
    types = {np.dtype(kind): number for number, kind in v3.FIELD_TYPES.items()}
    for op, fields in FIELDS.items():
        wanted = [(name, types[value.dtype]) for name, value in fields.items()]
        assert host.creator_fields(op) == wanted


@pytest.mark.parametrize("op", ALL)
def test_a_plugin_says_who_it_is_and_has_every_capability(plugin, op):
    made = plugin(op)
    assert made.identity() == (op, "1", "nd_deploy")
    assert [made.has_capability(kind) for kind in range(4)] == [True, True, True, False]
    assert made.output_count() == len(SHAPE_OF[op])


@pytest.mark.parametrize("op", ALL)
def test_fields_survive_an_engine(host, plugin, op):
    stored = plugin(op).fields()
    assert stored.keys() == FIELDS[op].keys()
    assert all((stored[name] == value).all() for name, value in FIELDS[op].items())
    again = host.create(op, stored, phase=v3.RUNTIME)
    for copy in (again, again.clone(), again.attach()):
        assert copy.identity() == (op, "1", "nd_deploy")
        assert {n: v.tobytes() for n, v in copy.fields().items()} == {
            n: v.tobytes() for n, v in stored.items()
        }


def test_a_copy_outlives_its_original(plugin):
    copy = plugin(CHANNEL).clone()
    assert copy.fields()["block"] == [4]


def test_whole_numbers_and_fractions_may_come_in_more_bits(plugin):
    wide = {"block": np.array([4], np.int64), "eps": np.array([0.25], np.float64)}
    stored = plugin(CHANNEL, **wide).fields()
    assert stored["block"] == [4]
    assert stored["eps"] == [0.25]


def test_unknown_fields_are_ignored(plugin):
    name = np.frombuffer(b"nd_deploy", np.int8)
    made = plugin(CHANNEL, plugin_namespace=name, from_the_future=one_float(1.0))
    assert "from_the_future" not in made.fields()


@pytest.mark.parametrize(("op", "name"), BOTH_DYNAMIC)
def test_a_missing_field_is_named_with_the_node(host, op, name):
    fields = {other: value for other, value in FIELDS[op].items() if other != name}
    with pytest.raises(RefusedError, match=f"error: nd_deploy: {op} 'layer1.norm': field '{name}'"):
        host.create(op, fields)


@pytest.mark.parametrize(("op", "name"), BOTH_DYNAMIC)
def test_a_field_of_another_kind_or_length_is_refused(plugin, op, name):
    value = FIELDS[op][name]
    other_kind = value.astype(np.int32 if name == "eps" else np.float32)
    for wrong in (other_kind, np.append(value, value[:1]), value[:0]):
        with pytest.raises(RefusedError, match=f"field '{name}'"):
            plugin(op, **{name: wrong})


@pytest.mark.parametrize(
    ("op", "name", "value"),
    [
        (CHANNEL, "block", ints(0)),
        (CHANNEL, "block", np.array([2**40], np.int64)),
        (CHANNEL, "n_iter", ints(-1)),
        (CHANNEL, "sampling_stride", ints(0)),
        (CHANNEL, "eps", one_float(-1.0)),
        (CHANNEL, "eps", one_float(np.nan)),
        (CHANNEL, "eps", one_float(np.inf)),
        (FAST, "kernel_shape", ints(3, 0)),
        (FAST, "pads", ints(0, 0, -1, 0)),
        (FAST, "dilations", ints(0, 1)),
        (FAST, "sampling_strides", ints(1, 0)),
        (FAST, "group", ints(0)),
    ],
)
def test_a_senseless_value_is_refused(plugin, op, name, value):
    with pytest.raises(RefusedError, match=f"field '{name}'"):
        plugin(op, **{name: value})


@pytest.mark.parametrize("finder", [v3.FOREIGN, v3.UNTYPED])
def test_a_logger_finder_of_another_tensorrt_is_not_called(harness, emulated_library, finder):
    script = (
        "import sys, v3\n"
        "host = v3.Host(*sys.argv[1:3])\n"
        "host.find_log(int(sys.argv[3]))\n"
        "try: host.create('NDChannelDeconvDynamic')\n"
        "except v3.RefusedError as error: print('logged:', error)\n"
    )
    arguments = [str(part) for part in (harness, emulated_library, finder)]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=v3.HERE,
    )
    assert done.stdout == "logged: \n"
    assert (
        "nd_deploy: NDChannelDeconvDynamic 'layer1.norm': field 'block' is missing" in done.stderr
    )


def test_without_a_logger_messages_go_to_stderr(host, capfd):
    host.find_log(0)
    try:
        with pytest.raises(RefusedError, match=r"^$"):
            host.create(CHANNEL)
    finally:
        host.find_log(v3.OWN)
    assert "field 'block' is missing" in capfd.readouterr().err
