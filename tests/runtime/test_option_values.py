import pytest

from nd_deploy.errors import InputError
from nd_deploy.runtime.option_values import read_values, size, whole

READERS = {"threads": whole(1, 8), "memory": size}


def test_values_are_read_by_name():
    assert read_values(READERS, {"threads": "4", "memory": "1MiB"}) == {
        "threads": 4,
        "memory": 2**20,
    }
    assert read_values(READERS, {}) == {}


@pytest.mark.parametrize("text", ["", "0", "9", "-1", "4.0", "four", "²"])
def test_a_number_out_of_range_says_the_range(text):
    with pytest.raises(InputError) as caught:
        read_values(READERS, {"threads": text})
    assert f"--option threads={text}" in caught.value.problem
    assert "from 1 to 8" in caught.value.remedy


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match="no option 'thread'") as caught:
        read_values(READERS, {"thread": "4"})
    assert caught.value.remedy == "choose from memory, threads"


def test_a_name_that_has_a_flag_says_so():
    with pytest.raises(InputError) as caught:
        read_values(READERS, {"tf32": "1"}, {"tf32": "--tf32"})
    assert caught.value.remedy == "use --tf32"
