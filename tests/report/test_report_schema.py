import copy
import json
from dataclasses import MISSING, fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from made_up_profiles import (
    environment,
    gpu,
    layers,
    measured,
    on_a_gpu,
    on_a_processor,
    profile,
    ratio,
    row,
    usage,
)

from nd_deploy.bundle import strict_json
from nd_deploy.errors import InputError
from nd_deploy.profiling.contestant import Contestant
from nd_deploy.profiling.environment.record import Cpu, Environment, Gpu, Jetson, Sample
from nd_deploy.profiling.figures import (
    METRICS,
    LayerTime,
    Measured,
    Ratio,
    Remark,
    Summary,
    Usage,
)
from nd_deploy.profiling.results import KIND, SCHEMA_VERSION, Method, ModelRecord, Profile, Row
from nd_deploy.report.json_file import read_profile, to_json
from nd_deploy.report.schema import PROFILE_SCHEMA, profile_schema
from nd_deploy.runtime.base import Receipt

SCHEMA = profile_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
RECORDS = {
    "contestant": Contestant,
    "cpu": Cpu,
    "environment": Environment,
    "gpu": Gpu,
    "jetson": Jetson,
    "layer_time": LayerTime,
    "measured": Measured,
    "method": Method,
    "model_record": ModelRecord,
    "ratio": Ratio,
    "receipt": Receipt,
    "remark": Remark,
    "row": Row,
    "sample": Sample,
    "summary": Summary,
    "usage": Usage,
}


def full():
    """A measurement in which nothing is None or empty, and which is small."""
    remark = Remark("noisy", "it varies", "pin the clock")
    name = str(row("naive").contestant)
    one = row(
        threads=2,
        metrics={"latency": measured(1e-3, openings=1, rounds=2)},
        ratio=ratio(0.5, name),
        compute_ratio=ratio(0.5, name, metric="compute"),
        error=1e-7,
        usage=usage(1e-3),
        layers=layers(("conv",)),
        remarks=(remark,),
    )
    sample = Sample(1.5, name, 1980.0, 3201.0, 50.0, 300.0, ("sw_thermal",), {"VDD": 5.0}, 2e3)
    jetson = Jetson("Orin Nano", "36.4.3", "MAXN (0)", "locked")
    around = environment(gpu=gpu(), jetson=jetson, samples=(sample,))
    return profile(one, environment=around, remarks=(remark,))


DOCUMENT = json.loads(to_json(full()))


def test_the_schema_is_one():
    Draft202012Validator.check_schema(SCHEMA)
    assert PROFILE_SCHEMA.name == "profile.schema.json"


@pytest.mark.parametrize("made_up", [on_a_processor, on_a_gpu, full, profile])
def test_a_measurement_is_as_the_schema_says(made_up):
    measurement = made_up()
    VALIDATOR.validate(json.loads(to_json(measurement)))
    VALIDATOR.validate(json.loads(strict_json.dumps(measurement.as_dict())))


def test_a_number_that_is_not_finite_is_as_the_schema_says():
    measurement = profile(row(error=float("nan"), throughput=float("inf")))
    VALIDATOR.validate(json.loads(to_json(measurement)))


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_the_schema_has_every_field_of_a_record_and_no_other(name):
    assert set(SCHEMA["$defs"][name]["properties"]) == {f.name for f in fields(RECORDS[name])}


def test_the_schema_has_every_field_of_the_whole_and_no_other():
    own = {field.name for field in fields(Profile)} | {"kind", "schema_version"}
    assert set(SCHEMA["properties"]) == own
    assert SCHEMA["properties"]["kind"]["const"] == KIND
    assert SCHEMA["properties"]["schema_version"]["const"] == SCHEMA_VERSION


def test_the_schema_has_every_metric_and_no_other():
    metrics = SCHEMA["$defs"]["row"]["properties"]["metrics"]
    assert set(metrics["properties"]) == set(METRICS)


def test_the_schema_describes_no_record_that_there_is_none_of():
    assert set(SCHEMA["$defs"]) == {*RECORDS, "number"}


def test_every_field_is_described():
    objects = [SCHEMA, *(SCHEMA["$defs"][name] for name in RECORDS)]
    objects.append(SCHEMA["$defs"]["row"]["properties"]["metrics"])
    for each in objects:
        assert each["description"]
        for name, field in each["properties"].items():
            assert field["description"].endswith("."), name


def test_no_record_but_the_receipt_may_hold_more():
    for name in RECORDS:
        assert (SCHEMA["$defs"][name].get("additionalProperties") is False) == (name != "receipt")
    assert SCHEMA["additionalProperties"] is False


def test_a_field_that_has_no_default_is_required():
    for name, record in RECORDS.items():
        if record is not Receipt:
            bare = {f.name for f in fields(record) if f.default is f.default_factory is MISSING}
            assert bare <= set(SCHEMA["$defs"][name]["required"])


# Fields that hold whatever there is, by name.
FREE = ("receipt", "memory", "setup", "versions", "rails")


def places(value, path=()):
    """The path of every field of every record in a document."""
    if isinstance(value, list):
        return [place for i, item in enumerate(value) for place in places(item, (*path, i))]
    if not isinstance(value, dict) or path[-1:] in [(name,) for name in FREE]:
        return []
    found = []
    for name, item in value.items():
        found += [(*path, name), *places(item, (*path, name))]
    return found


PLACES = places(DOCUMENT)


def mutated(place, change):
    document = copy.deepcopy(DOCUMENT)
    holder = document
    for step in place[:-1]:
        holder = holder[step]
    change(holder, place[-1])
    return document


def read(document, folder):
    path = folder / "profile.json"
    path.write_text(json.dumps(document))
    return read_profile(path)


def is_read(document, folder):
    try:
        read(document, folder)
    except InputError:
        return False
    return True


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mutated")


def test_what_was_written_is_read(folder):
    assert json.loads(to_json(read(DOCUMENT, folder))) == DOCUMENT


@settings(max_examples=30, deadline=None)
@given(place=st.sampled_from(PLACES))
def test_a_field_may_be_missing_in_the_schema_exactly_if_it_may_to_the_reader(place, folder):
    document = mutated(place, lambda holder, name: holder.pop(name))
    assert VALIDATOR.is_valid(document) == is_read(document, folder)


@settings(max_examples=30, deadline=None)
@given(place=st.sampled_from(PLACES))
def test_a_field_may_be_null_in_the_schema_exactly_if_it_may_to_the_reader(place, folder):
    document = mutated(place, lambda holder, name: holder.update({name: None}))
    assert VALIDATOR.is_valid(document) == is_read(document, folder)


@settings(max_examples=30, deadline=None)
@given(place=st.sampled_from(PLACES))
def test_a_field_of_another_type_is_refused_by_schema_and_reader(place, folder):
    def retype(holder, name):
        holder[name] = 7 if isinstance(holder[name], dict | list | str) else {"not": "this"}

    document = mutated(place, retype)
    assert not VALIDATOR.is_valid(document)
    with pytest.raises(InputError, match=r"profile\.json"):
        read(document, folder)


def test_a_metric_that_is_none_is_refused():
    document = copy.deepcopy(DOCUMENT)
    document["rows"][0]["metrics"]["speed"] = document["rows"][0]["metrics"]["latency"]
    assert not VALIDATOR.is_valid(document)
