import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nd_deploy import yaml_text

yaml = pytest.importorskip("yaml", reason="needs PyYAML")

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["yes", "No", "ON", "null", "~", "1", "1e3", "0x1", "1:30", "2026-11-25", "- a", "a: b", "# c"]
)
SCALARS = TEXTS | st.integers() | st.booleans()
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.dictionaries(TEXTS, inner, min_size=1, max_size=3)
        | st.lists(SCALARS | st.dictionaries(TEXTS, inner, min_size=1, max_size=3), min_size=1)
    ),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=4))
def test_a_reader_finds_what_was_written(document):
    assert yaml.safe_load(yaml_text.dumps(document, "a comment")) == document


def test_it_reads_as_a_person_would_write_it():
    document = {"services": {"triton": {"ports": ["8000:80"], "restart": "no", "count": 2}}}
    assert yaml_text.dumps(document, "one\n\ntwo") == (
        "# one\n#\n# two\n"
        'services:\n  triton:\n    ports:\n      - "8000:80"\n    restart: "no"\n    count: 2\n'
    )


def test_a_list_in_a_list_is_a_mistake_of_ours():
    with pytest.raises(TypeError, match="list in a list"):
        yaml_text.dumps({"a": [[1]]})
