"""The records themselves: all that they may hold reads back equal, and their JSON Schema says what is read."""

import json
from collections.abc import Iterator
from typing import get_args

import jsonschema
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import inspect

from rnneval.errors import RecordError
from rnneval.records import Record, decode, encode, json_schema, schema_names
from rnneval.records._base import Value

CLASSES = get_args(Record)
WIDE = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))


def drawn(kind: inspect.Type) -> st.SearchStrategy:
    """Anything that a type of the records allows, read off its annotation, so that a new field is drawn unnamed."""
    return DRAWN[type(kind)](kind)


def drawn_struct(kind: inspect.StructType) -> st.SearchStrategy:
    needed = {field.name: drawn(field.type) for field in kind.fields if field.required}
    optional = {field.name: drawn(field.type) for field in kind.fields if not field.required}
    return st.fixed_dictionaries(needed, optional=optional).map(lambda values: kind.cls(**values))


DRAWN = {
    inspect.StructType: drawn_struct,
    inspect.UnionType: lambda kind: st.one_of(map(drawn, kind.types)),
    inspect.VarTupleType: lambda kind: st.lists(drawn(kind.item_type), max_size=2).map(tuple),
    inspect.DictType: lambda kind: st.dictionaries(drawn(kind.key_type), drawn(kind.value_type), max_size=2),
    inspect.StrType: lambda kind: st.from_regex(kind.pattern) if kind.pattern else st.text(max_size=8),
    inspect.IntType: lambda kind: st.integers(kind.ge, kind.le),
    inspect.FloatType: lambda _: st.floats(allow_nan=False, allow_infinity=False),
    inspect.LiteralType: lambda kind: st.sampled_from(kind.values),
    inspect.BoolType: lambda _: st.booleans(),
    inspect.NoneType: lambda _: st.none(),
}

RECORDS = st.one_of([drawn(inspect.type_info(cls)) for cls in CLASSES])


@WIDE
@given(RECORDS)
def test_what_is_written_reads_back_equal(record):
    assert decode(encode(record)) == record
    assert decode(encode(record).encode()) == record
    assert encode(decode(encode(record))) == encode(record)


def every_class(cls: type = Value) -> Iterator[type]:
    for sub in cls.__subclasses__():
        yield sub
        yield from every_class(sub)


@pytest.mark.parametrize(
    "cls",
    [cls for cls in every_class() if cls.__module__.startswith("rnneval.records")],
    ids=lambda cls: cls.__qualname__,
)
def test_classes_are_frozen_closed_keyword_only_and_have_no_default_but_none(cls):
    config = cls.__struct_config__
    assert config.frozen
    assert config.forbid_unknown_fields
    for field in msgspec.structs.fields(cls):
        assert field.required or field.default is None
    with pytest.raises(TypeError):
        cls("positional")


# --- JSON Schema ---


@pytest.fixture(scope="module")
def validators():
    for name in schema_names():
        jsonschema.Draft202012Validator.check_schema(json_schema(name))
    return {name: jsonschema.Draft202012Validator(json_schema(name)) for name in schema_names()}


# 1.0 is left out: JSON Schema takes it for an integer, the reader does not, and no record writes a count so.
MUTANTS = st.sampled_from([None, True, -1, 1.5, "", "0" * 63, "0" * 64, [], [1], ["x"], {}, {"zzz": {"zzz": "zzz"}}])


def places(value: object, place: tuple = ()) -> Iterator[tuple]:
    yield place
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*place, key))


def mutate(plain: dict, place: tuple, how: str, mutant: object) -> None:
    *way, last = place
    holder = plain
    for key in way:
        holder = holder[key]
    if how == "drop":
        del holder[last]
    elif how == "add" and isinstance(holder, dict):
        holder["zzz"] = mutant
    else:
        holder[last] = mutant


def reads(text: str) -> bool:
    try:
        decode(text)
    except RecordError:
        return False
    return True


@WIDE
@given(RECORDS, st.data())
def test_reader_and_schema_agree_on_records_and_on_mutants(validators, record, data):
    plain = json.loads(encode(record))
    validator = validators[plain["schema"]]
    assert validator.is_valid(plain)
    place = data.draw(st.sampled_from([place for place in places(plain) if place and place != ("schema",)]))
    mutate(plain, place, data.draw(st.sampled_from(["change", "drop", "add"])), data.draw(MUTANTS))
    assert validator.is_valid(plain) == reads(json.dumps(plain))
