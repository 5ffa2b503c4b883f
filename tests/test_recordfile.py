"""Records ↔ JSON: exact, strict, whole or not at all."""

import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnneval.errors import RecordError
from rnneval.records import Gate, decode, encode, read, read_run, write
from rnneval.records.gate import Comparison

COMPARISON = Comparison(
    metric="perplexity",
    baseline="base.json",
    candidate="run.json",
    unit="nats a token",
    difference=0.1,
    verdict="pass",
    reason="lies within",
    method="t, 8 batches",
    blocks=8,
    about="these checkpoints",
)
GATE = Gate(verdict="pass", reason="all pass", comparisons=(COMPARISON,), warnings=("drift",))
PLAIN = json.loads(encode(GATE))


def with_(**changes) -> str:
    return json.dumps({**PLAIN, **changes})


def with_comparison(**changes) -> str:
    return with_(comparisons=[{**PLAIN["comparisons"][0], **changes}])


# --- exact ---


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_float_keeps_its_bits(number):
    assert decode(with_comparison(difference=number)).comparisons[0].difference.hex() == number.hex()


@pytest.mark.parametrize("text", ["é\u2028\U0001f600", 'quote " backslash \\ \x00 \x7f', "\udcff in a path", "\\udcff"])
def test_every_string_survives_the_file(tmp_path, text):
    gate = Gate(verdict="fail", reason=text, comparisons=(), warnings=())
    write(gate, tmp_path / "gate.json")
    assert read(tmp_path / "gate.json") == gate
    json.loads((tmp_path / "gate.json").read_text(encoding="utf-8"))


# --- strict ---


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_not_written(tmp_path, number):
    gate = Gate(verdict="fail", reason="", comparisons=(_replaced(difference=number),), warnings=())
    (tmp_path / "gate.json").write_text("old")
    with pytest.raises(RecordError, match="not finite"):
        write(gate, tmp_path / "gate.json")
    assert (tmp_path / "gate.json").read_text() == "old"


@pytest.mark.parametrize("digits", ["NaN", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_not_read(digits):
    text = with_comparison(difference="HERE").replace('"HERE"', digits)
    with pytest.raises(RecordError, match=f"{digits} is not a number"):
        decode(text)


@pytest.mark.parametrize(
    ("schema", "advice"),
    [
        ("rnneval.gate/2", "another version of rnneval; this one reads rnneval.gate/1: install the version that wrote"),
        ("rnneval.run/0", "this one reads rnneval.run/1"),
        ("other", "is not one of rnneval.run/1, rnneval.wiring/1, rnneval.gate/1"),
        (["rnneval.gate/1"], "is this a record of rnneval"),
    ],
)
def test_other_schemas_are_refused_with_what_to_do(schema, advice):
    with pytest.raises(RecordError, match=advice):
        decode(with_(schema=schema))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not a whole JSON file"),
        ("[]", "holds a JSON list"),
        (b"\xff\xfe\xff", "not a whole JSON file"),
        (b'\x40\x1f\0\0\0\0\0\0{"__metadata__"', r"not a whole JSON file \(a file of weights"),
        (b"\x1f\x8b\x08\x08", r"not a whole JSON file \(a file of weights"),
        (b"First Citizen:", r"not a whole JSON file \(it begins with 'First Citizen:'\): .* make it again"),
        (b'{"schema": ', r"not a whole JSON file \(cut off or damaged at character 11\): .* make it again"),
        ('{"reason": "é"}'.encode("latin-1"), "not a whole JSON file"),
        (encode(GATE) + encode(GATE), "not a whole JSON file"),
    ],
)
def test_what_is_not_one_json_object_is_refused(text, problem):
    with pytest.raises(RecordError, match=f"run.json: {problem}"):
        decode(text, "run.json")


def test_every_truncation_is_refused():
    text = encode(GATE).rstrip("\n")
    for length in range(len(text)):
        with pytest.raises(RecordError):
            decode(text[:length])


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"extra": 1}, "unknown field `extra`"),
        ({"verdict": "maybe"}, "Invalid enum value 'maybe'"),
        ({"reason": 7}, r"Expected `str`, got `int` - at `\$.reason`"),
        ({"warnings": "drift"}, "Expected `array`"),
    ],
)
def test_keys_and_values_that_the_schema_lacks_are_refused(changes, problem):
    with pytest.raises(RecordError, match=problem):
        decode(with_(**changes))


# --- files ---


def test_a_missing_file_is_one_line_with_its_path(tmp_path):
    with pytest.raises(RecordError, match=r"none.json: cannot be read: No such file or directory"):
        read(tmp_path / "none.json")
    with pytest.raises(RecordError, match="cannot be read"):
        read(tmp_path)


def test_read_run_refuses_other_kinds(tmp_path):
    write(GATE, tmp_path / "gate.json")
    with pytest.raises(RecordError, match=r"gate.json: holds rnneval.gate/1, a rnneval.run/1 record is needed"):
        read_run(tmp_path / "gate.json")


def _replaced(**changes) -> Comparison:
    return msgspec.structs.replace(COMPARISON, **changes)
