import json
import subprocess
import sys
from dataclasses import replace

import pytest
from engine_keys import KEY

from nd_deploy.runtime.tensorrt.kept.engine_key import PORTABLE, EngineKey, covers

OTHERS = {
    "model_sha256": "b" * 64,
    "library": "tensorrt_rtx",
    "version": "10.3.0",
    "device": "NVIDIA A100",
    "compute_capability": "8.0",
    "precision": "float16",
    "tf32": True,
    "profiles": "x: 2x3x8x8",
    "plugins": ("c" * 64,),
    "flags": ("sparse",),
    "schema": 7,
}


def test_what_is_set_in_another_order_is_the_same_engine():
    one = replace(KEY, plugins=("2", "1"), flags=("b", "a"))
    other = replace(KEY, plugins=("1", "2"), flags=("a", "b", "a"))
    assert one == other
    assert one.digest() == other.digest()


@pytest.mark.parametrize(("name", "value"), OTHERS.items())
def test_every_field_is_part_of_the_digest_and_named_when_it_differs(name, value):
    other = replace(KEY, **{name: value})
    assert other.digest() != KEY.digest()
    (said,) = KEY.differences(other)
    for found in (getattr(KEY, name), value):
        shown = {False: "off", True: "on"}.get(found) if isinstance(found, bool) else found
        shown = (found[0] if found else "none") if isinstance(found, tuple) else shown
        assert str(shown) in said


def test_the_digest_is_the_same_in_every_process():
    program = (
        "import json, sys; from nd_deploy.runtime.tensorrt.kept.engine_key import EngineKey; "
        "print(EngineKey.from_dict(json.loads(sys.argv[1])).digest())"
    )
    command = [sys.executable, "-c", program, json.dumps(KEY.as_dict())]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.strip() == KEY.digest()


def test_sentences_say_which_value_is_whose():
    assert KEY.differences(replace(KEY, compute_capability="8.6", tf32=True)) == [
        "its compute capability is 9.0, not 8.6",
        "its use of TF32 is off, not on",
    ]


@pytest.mark.parametrize(
    ("built_for", "capability", "fits"),
    [
        ("9.0", "9.0", True),
        ("9.0", "8.9", False),
        ("8.0+", "8.0", True),
        ("8.0+", "12.0", True),
        ("8.0+", "7.5", False),
        ("7.5, 8.6", "8.6", True),
        ("7.5,8.6", "9.0", False),
        ("portable", "9.0", True),
        ("+", "9.0", False),
        ("8.0+", "portable", False),
    ],
)
def test_compute_capabilities(built_for, capability, fits):
    assert covers(built_for, capability) is fits


class TestMisfits:
    def test_a_portable_engine_fits_any_gpu_it_covers(self):
        portable = replace(KEY, device=PORTABLE, compute_capability="8.0+")
        assert portable.misfits(KEY) == []
        assert portable.differences(KEY)
        assert portable.misfits(replace(KEY, compute_capability="7.5")) == [
            "its compute capability is 8.0+, not 7.5"
        ]

    def test_another_gpu_of_one_capability_is_another_gpu(self):
        assert KEY.misfits(replace(KEY, device="NVIDIA H100")) == [
            "its GPU is NVIDIA H200, not NVIDIA H100"
        ]

    def test_a_version_compatible_engine_fits_another_version(self):
        other = replace(KEY, version="10.17.0")
        assert replace(KEY, flags=("version_compatible",)).misfits(other) == []
        assert KEY.misfits(other) == ["its library's version is 10.16.1, not 10.17.0"]

    def test_how_the_builder_searched_does_not_matter(self):
        assert KEY.misfits(replace(KEY, flags=("builder_optimization_level=5",))) == []


class TestRecords:
    def test_a_key_survives_being_written(self):
        key = replace(KEY, plugins=("1",), flags=("a", "b"))
        assert EngineKey.from_dict(json.loads(json.dumps(key.as_dict()))) == key

    @pytest.mark.parametrize(
        "changes",
        [{"tf32": "no"}, {"version": 10}, {"plugins": "abc"}, {"schema": True}, {"strange": 1}],
    )
    def test_a_field_of_another_type_is_refused(self, changes):
        with pytest.raises(ValueError, match=next(iter(changes))):
            EngineKey.from_dict(KEY.as_dict() | changes)

    def test_a_missing_field_is_refused(self):
        record = KEY.as_dict()
        del record["precision"]
        with pytest.raises(ValueError, match="precision"):
            EngineKey.from_dict(record)
