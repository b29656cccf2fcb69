import re

import pytest

from nd_deploy.port_names import input_names, output_names


def names(*paths, taken=("input",)):
    return output_names(paths, taken)


def test_one_input_has_no_number_and_several_have():
    assert input_names(1) == ["input"]
    assert input_names(3) == ["input_0", "input_1", "input_2"]


def test_a_plain_tensor_is_the_output_and_so_is_one_that_stands_alone():
    assert names(()) == ["output"]
    assert names((0,)) == ["output"]
    assert names((0, 1)) == ["output"]


def test_tensors_of_a_tuple_are_numbered_by_their_place():
    assert names((0,), (1,)) == ["output_0", "output_1"]
    assert names((0,), (2,)) == ["output_0", "output_2"]


def test_tensors_of_a_dict_have_their_keys_for_names():
    assert names(("out",), ("aux",)) == ["out", "aux"]
    assert names(("out",)) == ["out"]


def test_what_is_nested_has_the_names_of_all_levels():
    paths = [("aux", 0), ("aux", 1, "boxes"), (0, "mask"), (1, 0)]
    assert names(*paths) == ["aux.0", "aux.1.boxes", "output_0.mask", "output_1.0"]


def test_a_key_with_no_text_is_an_output_like_any_other():
    assert names(("",), ("out",)) == ["output", "out"]
    assert names(("aux", "")) == ["aux.output"]


def test_names_that_would_be_the_same_are_numbered():
    assert names(("a.b",), ("a", "b")) == ["a.b", "a.b_1"]
    assert names((0,), ("output_0",)) == ["output_0", "output_0_1"]
    assert names(("input",), taken=["input"]) == ["input_1"]


def test_a_number_never_takes_the_name_of_another_key():
    assert names(("input",), ("input_1",)) == ["input_2", "input_1"]
    assert names(("a",), ("a",), ("a_1",)) == ["a", "a_2", "a_1"]


@pytest.mark.parametrize("key", ["a b", "a\nb", "a\x1b[31mb", "a\0b", "a\ud800b", "a\u2028b"])
def test_a_key_that_no_terminal_or_file_can_hold_is_made_printable(key):
    (name,) = names((key,))
    assert re.fullmatch(r"a_(\[31m)?b", name)
    assert name.encode()
    assert names((key.replace("a", "é/"),))[0].startswith("é/")
