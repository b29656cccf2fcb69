import pytest
from google.protobuf import descriptor_pb2, text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from nd_deploy.triton import pbtxt
from nd_deploy.triton.pbtxt import Word, many, one


class TestWriting:
    @settings(max_examples=40, deadline=None)
    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def test_protobuf_reads_any_text_as_it_was(self, text):
        written = pbtxt.dumps({"name": text})
        assert text_format.Parse(written, descriptor_pb2.FileDescriptorProto()).name == text

    def test_protobuf_reads_every_kind_of_field(self):
        written = pbtxt.dumps(
            {
                "name": "m",
                "field": [{"name": "a", "number": -1, "type": Word("TYPE_BOOL")}, {"name": "b"}],
                "options": {"deprecated": True},
                "reserved_name": ["x", "y"],
            }
        )
        message = text_format.Parse(written, descriptor_pb2.DescriptorProto())
        assert [(f.name, f.number, f.type) for f in message.field] == [("a", -1, 8), ("b", 0, 1)]
        assert message.options.deprecated
        assert list(message.reserved_name) == ["x", "y"]


class TestReading:
    @settings(max_examples=40, deadline=None)
    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def test_what_protobuf_writes_of_text_is_read(self, text):
        written = text_format.MessageToString(descriptor_pb2.FileDescriptorProto(name=text))
        assert one(pbtxt.loads(written), "name", "") == text

    def test_what_protobuf_writes_is_read(self):
        message = descriptor_pb2.DescriptorProto(name="m", reserved_name=["x", "y"])
        message.field.add(name="a", number=3, type=8)
        message.options.deprecated = True
        read = pbtxt.loads(text_format.MessageToString(message))
        (field,) = many(read, "field", dict)
        assert (one(field, "name", ""), one(field, "number", 0)) == ("a", 3)
        assert field["type"] == [Word("TYPE_BOOL")]
        assert one(read, "options", {})["deprecated"] == [True]
        assert many(read, "reserved_name", str) == ["x", "y"]

    def test_the_other_ways_to_write_it_are_read(self):
        text = """
        # a comment with "quotes" {
        a: <b: 'x' "y", c { d: .5; }>  list [{n: 1}, {n: 0x10}]; list: {n: 010}
        many: [1, -2] many: 3, hole: [] f: 1.5e1f
        """
        assert pbtxt.loads(text) == {
            "a": [{"b": ["xy"], "c": [{"d": [0.5]}]}],
            "list": [{"n": [1]}, {"n": [16]}, {"n": [8]}],
            "many": [1, -2, 3],
            "hole": [],
            "f": [15.0],
        }

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("a", "line 1 has the end where a value"),
            ("a {\nb: 1", "line 2 has the end where a field"),
            ("}", "line 1 has } where a field"),
            ("a: ]", "line 1 has ] where a value"),
            ("a 3", "line 1 has 3 where a value"),
            ("a: [1 2]", "line 1 has 2 where , is"),
            ('"a": 1', 'line 1 has "a" where a field'),
            ("\n\na: 'x", 'line 3 has "\'"'),
            ("a {" * 5000, "nested too deeply"),
        ],
    )
    def test_something_else_is_refused_with_its_line(self, text, problem):
        with pytest.raises(ValueError, match=r"line|nested") as caught:
            pbtxt.loads(text)
        assert problem in str(caught.value)

    def test_a_field_of_another_type_counts_as_not_set(self):
        message = pbtxt.loads("n: 'three' n: 4 s: 5")
        assert one(message, "n", 0) == 4
        assert one(message, "s", "none") == "none"
        assert many(message, "n", str) == ["three"]
