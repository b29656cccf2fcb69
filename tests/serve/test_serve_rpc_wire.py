"""The messages against those that Triton's client was generated with."""

import itertools

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from tritonclient.grpc import model_config_pb2, service_pb2

from nd_deploy.serve.rpc.config_messages import CONFIG_MESSAGES
from nd_deploy.serve.rpc.inference_messages import INFERENCE_MESSAGES
from nd_deploy.serve.rpc.messages import HEALTH, INFERENCE

EXCHANGED = sorted(
    f"{method}{kind}"
    for method in (
        "ServerLive",
        "ServerReady",
        "ServerMetadata",
        "ModelReady",
        "ModelMetadata",
        "ModelInfer",
        "ModelConfig",
        "ModelStatistics",
        "RepositoryIndex",
    )
    for kind in ("Request", "Response")
)


def pairs(ours, theirs):
    """Two messages' descriptors, and those of all messages within them."""
    found, waiting = {}, [(ours, theirs)]
    while waiting:
        ours, theirs = waiting.pop()
        if ours.full_name not in found:
            found[ours.full_name] = ours, theirs
            waiting += [
                (field.message_type, theirs.fields_by_number[field.number].message_type)
                for field in ours.fields
                if field.message_type
            ]
    return found.values()


def signature(field):
    return (
        field.number,
        field.name,
        field.type,
        field.is_repeated if hasattr(field, "is_repeated") else field.label,
        field.containing_oneof.name if field.containing_oneof else None,
        field.message_type is not None and field.message_type.GetOptions().map_entry,
        {value.name: value.number for value in field.enum_type.values} if field.enum_type else None,
    )


@pytest.mark.parametrize("name", EXCHANGED)
def test_fields_are_those_of_tritons_client(name):
    top = INFERENCE[name].DESCRIPTOR, service_pb2.DESCRIPTOR.message_types_by_name[name]
    for ours, theirs in pairs(*top):
        known = {field.number for field in ours.fields}
        if ours.name not in CONFIG_MESSAGES:
            assert known == set(theirs.fields_by_number), ours.full_name
        for field in ours.fields:
            assert signature(field) == signature(theirs.fields_by_number[field.number])


def test_no_message_is_described_that_is_not_exchanged():
    reached = {
        ours.name
        for name in EXCHANGED
        for ours, _ in pairs(INFERENCE[name].DESCRIPTOR, getattr(service_pb2, name).DESCRIPTOR)
    }
    assert INFERENCE_MESSAGES.keys() | CONFIG_MESSAGES.keys() <= reached


def fill(message, known, counter):
    """Set every field of a message that another kind of message knows too."""
    taken = set()
    for field in known.fields:
        group = field.containing_oneof.name if field.containing_oneof else field.name
        if group in taken:
            continue
        taken.add(group)
        _fill_field(message, message.DESCRIPTOR.fields_by_number[field.number], field, counter)


def _fill_field(message, field, known, counter):
    target = getattr(message, field.name)
    if field.message_type and field.message_type.GetOptions().map_entry:
        value = known.message_type.fields_by_name["value"]
        if value.message_type:
            fill(target["key"], value.message_type, counter)
        else:
            target["key"] = _scalar(value, counter)
    elif hasattr(target, "add"):
        for _ in range(2):
            fill(target.add(), known.message_type, counter)
    elif field.message_type:
        target.SetInParent()
        fill(target, known.message_type, counter)
    elif hasattr(target, "append"):
        target.extend([_scalar(field, counter), _scalar(field, counter)])
    else:
        setattr(message, field.name, _scalar(field, counter))


def _scalar(field, counter):
    number = next(counter)
    if field.enum_type:
        return field.enum_type.values[-1].number
    if field.type == FieldDescriptor.TYPE_STRING:
        return f"täxt {number}"
    if field.type == FieldDescriptor.TYPE_BYTES:
        return bytes([0, 255, number % 256])
    if field.type == FieldDescriptor.TYPE_BOOL:
        return True
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return number / 4
    if field.type in (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64):
        return -number
    return number


@pytest.mark.parametrize("name", EXCHANGED)
def test_what_tritons_client_writes_is_read_and_written_back(name):
    theirs = getattr(service_pb2, name)()
    fill(theirs, INFERENCE[name].DESCRIPTOR, itertools.count(1))

    ours = INFERENCE[name].FromString(theirs.SerializeToString())

    assert json_format.MessageToDict(ours) == json_format.MessageToDict(theirs)
    assert type(theirs).FromString(ours.SerializeToString()) == theirs


def test_what_a_config_does_not_describe_passes_unseen():
    theirs = model_config_pb2.ModelConfig(name="m")
    theirs.ensemble_scheduling.step.add(model_name="part")

    ours = INFERENCE["ModelConfig"].FromString(theirs.SerializeToString())

    assert ours.name == "m"


def test_health_checks_are_those_of_grpcs_own_package():
    health_pb2 = pytest.importorskip("grpc_health.v1.health_pb2")
    for name, ours in HEALTH.items():
        theirs = getattr(health_pb2, name).DESCRIPTOR
        assert list(map(signature, ours.DESCRIPTOR.fields)) == list(map(signature, theirs.fields))
