"""Records ↔ JSON: exact, strict, whole or not at all."""

import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnneval.errors import RecordError
from rnneval.records import Gate, decode, encode, json_text, read, read_run, write
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


def test_the_file_is_one_line_of_json_with_the_schema_and_without_what_is_absent():
    assert encode(Gate(verdict="pass", reason="ok", comparisons=(), warnings=())) == (
        '{"schema": "rnneval.gate/1", "verdict": "pass", "reason": "ok", "comparisons": [], "warnings": []}\n'
    )
    assert "null" not in encode(GATE)
    assert "low" not in PLAIN["comparisons"][0]


# --- strict ---


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_not_written(tmp_path, number):
    gate = Gate(verdict="fail", reason="", comparisons=(_replaced(difference=number),), warnings=())
    (tmp_path / "gate.json").write_text("old")
    with pytest.raises(RecordError, match="not finite"):
        write(gate, tmp_path / "gate.json")
    assert (tmp_path / "gate.json").read_text() == "old"


@pytest.mark.parametrize("digits", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_a_number_that_is_not_finite_is_not_read(digits):
    text = with_comparison(difference="HERE").replace('"HERE"', digits)
    with pytest.raises(RecordError, match=f"{digits} is not a number"):
        decode(text)


def test_an_integer_beyond_all_floats_is_not_read():
    with pytest.raises(RecordError, match="difference"):
        decode(with_comparison(difference=10**400))
    with pytest.raises(RecordError, match="not a whole JSON file"):
        decode(with_(reason="HERE").replace('"HERE"', "9" * 5000))


def test_null_stands_for_an_absent_key_and_for_no_other():
    assert decode(with_comparison(low=None)) == GATE
    with pytest.raises(RecordError, match="Expected `str`, got `null`"):
        decode(with_comparison(metric=None))


@pytest.mark.parametrize(
    ("schema", "advice"),
    [
        ("rnneval.gate/2", "another version of rnneval; this one reads rnneval.gate/1: install the version that wrote"),
        ("other", "is not one of rnneval.run/1, rnneval.wiring/1, rnneval.gate/1"),
        (7, "is this a record of rnneval"),
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


@pytest.mark.parametrize("depth", [960, 100_000])
def test_nesting_deeper_than_the_stack_is_refused(depth):
    with pytest.raises(RecordError):
        decode('{"a":' * depth + "1" + "}" * depth)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"extra": 1}, "unknown field `extra`"),
        ({"reason": 7}, r"Expected `str`, got `int` - at `\$.reason`"),
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


@given(st.text())
def test_json_has_nothing_that_drives_a_terminal_and_reads_back(text):
    written = json_text({text: [text]})
    assert all(character.isprintable() for character in written[:-1])
    assert json.loads(written.encode("utf-8")) == {text: [text]}


def _replaced(**changes) -> Comparison:
    return msgspec.structs.replace(COMPARISON, **changes)
