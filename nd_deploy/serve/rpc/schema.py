"""Protobuf messages from tables of their fields.

Generated stubs register their messages in the process's one descriptor pool, where a second set of
the same names is refused: a server that shipped some could not share a process with Triton's or
KServe's client. They are also tied to the protobuf release that generated them. So the messages
are described by name and number, which is all that the wire knows, and live in a pool of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from google.protobuf import descriptor_pb2, message_factory  # type: ignore[import-untyped]
from google.protobuf.descriptor_pool import DescriptorPool  # type: ignore[import-untyped]
from google.protobuf.message import Message  # type: ignore[import-untyped]

_Descriptor: TypeAlias = descriptor_pb2.DescriptorProto
_FieldDescriptor: TypeAlias = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _FieldDescriptor.TYPE_BOOL,
    "bytes": _FieldDescriptor.TYPE_BYTES,
    "double": _FieldDescriptor.TYPE_DOUBLE,
    "float": _FieldDescriptor.TYPE_FLOAT,
    "int32": _FieldDescriptor.TYPE_INT32,
    "int64": _FieldDescriptor.TYPE_INT64,
    "string": _FieldDescriptor.TYPE_STRING,
    "uint32": _FieldDescriptor.TYPE_UINT32,
    "uint64": _FieldDescriptor.TYPE_UINT64,
}


@dataclass(frozen=True)
class Field:
    """A field of a message.

    Attributes:
        number: on the wire.
        name: in code and in JSON.
        kind: a scalar such as "int64", or a message or an enumeration of the same table.
        repeated: whether it is a list.
        keyed: whether it is a map, from strings.
        choice: the group of fields of which at most one is set; None if it is in none.
    """

    number: int
    name: str
    kind: str
    repeated: bool = False
    keyed: bool = False
    choice: str | None = None


Messages: TypeAlias = Mapping[str, Sequence[Field]]
Enumerations: TypeAlias = Mapping[str, Sequence[str]]


def one(number: int, name: str, kind: str, choice: str | None = None) -> Field:
    """A field with one value."""
    return Field(number, name, kind, choice=choice)


def many(number: int, name: str, kind: str) -> Field:
    """A field with a list of values."""
    return Field(number, name, kind, repeated=True)


def keyed(number: int, name: str, kind: str) -> Field:
    """A field with values by strings."""
    return Field(number, name, kind, keyed=True)


def message_classes(
    package: str, messages: Messages, enumerations: Enumerations | None = None
) -> dict[str, type[Message]]:
    """Classes of messages, in a pool that nothing else shares.

    Args:
        package: of all of them.
        messages: their fields, by their names.
        enumerations: the names of values, numbered from 0, by the enumerations' names.

    Returns:
        The classes, by the messages' names.
    """
    enumerations = enumerations or {}
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package}.proto", package=package, syntax="proto3"
    )
    for name, values in enumerations.items():
        enumeration = file.enum_type.add(name=name)
        for number, value in enumerate(values):
            enumeration.value.add(name=value, number=number)
    for name, fields in messages.items():
        _describe(file.message_type.add(name=name), fields, package, enumerations)
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in messages
    }


def _describe(
    message: _Descriptor, fields: Sequence[Field], package: str, enumerations: Enumerations
) -> None:
    choices: list[str] = []
    for field in fields:
        entry = message.field.add(name=field.name, number=field.number)
        entry.label = entry.LABEL_OPTIONAL
        if field.repeated or field.keyed:
            entry.label = entry.LABEL_REPEATED
        if field.keyed:
            entry.type = entry.TYPE_MESSAGE
            entry.type_name = f".{package}.{message.name}.{_add_map(message, field, package)}"
        else:
            _set_kind(entry, field.kind, package, enumerations)
        if field.choice is not None:
            if field.choice not in choices:
                choices.append(field.choice)
                message.oneof_decl.add(name=field.choice)
            entry.oneof_index = choices.index(field.choice)


def _add_map(message: _Descriptor, field: Field, package: str) -> str:
    """Add the message that a map's entries are on the wire, and give its name."""
    name = "".join(part.capitalize() for part in field.name.split("_")) + "Entry"
    entry = message.nested_type.add(name=name)
    entry.options.map_entry = True
    _describe(entry, (one(1, "key", "string"), one(2, "value", field.kind)), package, {})
    return name


def _set_kind(entry: _FieldDescriptor, kind: str, package: str, enumerations: Enumerations) -> None:
    if kind in _SCALARS:
        entry.type = _SCALARS[kind]
        return
    entry.type = entry.TYPE_ENUM if kind in enumerations else entry.TYPE_MESSAGE
    entry.type_name = f".{package}.{kind}"
