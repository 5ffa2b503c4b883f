"""Records ↔ JSON: exact, strict, whole or not at all."""

import json
import math
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnneval.errors import RecordError
from rnneval.recordfile import decode, encode, read, read_run, whole_file, write
from rnneval.records import Gate
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


@pytest.mark.parametrize("number", [5e-324, 1.7976931348623157e308, -0.0, 0.1 + 0.2, 2.0**53 + 2])
def test_extreme_floats(tmp_path, number):
    gate = Gate(verdict="fail", reason="", comparisons=(_replaced(difference=number),), warnings=())
    write(gate, tmp_path / "gate.json")
    found = read(tmp_path / "gate.json").comparisons[0].difference
    assert (found, math.copysign(1, found)) == (number, math.copysign(1, number))


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


def test_an_integer_reads_as_a_float_where_one_is_expected():
    assert decode(with_comparison(difference=1)).comparisons[0].difference == 1.0


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


def test_null_is_not_read_even_where_a_key_may_be_absent():
    with pytest.raises(RecordError, match=r"null at comparisons\[0\]\.low: what cannot be had is absent"):
        decode(with_comparison(low=None))


@pytest.mark.parametrize(
    ("schema", "advice"),
    [
        ("rnneval.gate/2", "another version of rnneval; this one reads rnneval.gate/1: install the version that wrote"),
        ("rnneval.run/0", "this one reads rnneval.run/1"),
        ("rnneval.gate/x", "is this a record of rnneval"),
        ("other", "is not one of rnneval.run/1, rnneval.wiring/1, rnneval.gate/1"),
        (7, "is this a record of rnneval"),
        (["rnneval.gate/1"], "is this a record of rnneval"),
    ],
)
def test_other_schemas_are_refused_with_what_to_do(schema, advice):
    with pytest.raises(RecordError, match=advice):
        decode(with_(schema=schema))


def test_no_schema_is_refused():
    with pytest.raises(RecordError, match="is this a record of rnneval"):
        decode("{}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not a whole JSON file"),
        ("   \n", "not a whole JSON file"),
        ("[]", "holds a JSON list"),
        ("7", "holds a JSON int"),
        ("null", "holds a JSON NoneType"),
        (b"\xff\xfe\xff", "not a whole JSON file"),
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


@pytest.mark.parametrize("depth", [500, 900, 960, 2_000, 100_000])
def test_nesting_deeper_than_the_stack_is_refused(depth):
    with pytest.raises(RecordError):
        decode('{"a":' * depth + "1" + "}" * depth)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"extra": 1}, "unknown field `extra`"),
        ({"verdict": "maybe"}, "Invalid enum value 'maybe'"),
        ({"reason": 7}, r"Expected `str`, got `int` - at `\$.reason`"),
        ({"comparisons": {}}, "Expected `array`"),
        ({"warnings": "drift"}, "Expected `array`"),
    ],
)
def test_keys_and_values_that_the_schema_lacks_are_refused(changes, problem):
    with pytest.raises(RecordError, match=problem):
        decode(with_(**changes))


@pytest.mark.parametrize("changes", [{"blocks": -1}, {"blocks": 1.5}, {"blocks": True}, {"difference": "0.1"}])
def test_numbers_of_another_kind_are_refused(changes):
    with pytest.raises(RecordError, match=r"not a valid rnneval\.gate/1 record"):
        decode(with_comparison(**changes))


@pytest.mark.parametrize("key", PLAIN)
def test_every_key_is_needed(key):
    with pytest.raises(RecordError):
        decode(json.dumps({name: value for name, value in PLAIN.items() if name != key}))


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


def test_save_writes_what_read_reads(tmp_path):
    GATE.save(str(tmp_path / "gate.json"))
    assert read(str(tmp_path / "gate.json")) == GATE


def test_the_new_file_takes_the_place_of_the_old_one(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")
    with whole_file(target) as temporary:
        assert temporary.parent == tmp_path
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, MemoryError])
def test_the_old_file_stays_whatever_ends_the_block(tmp_path, error):
    target = tmp_path / "file"
    target.write_text("old")

    def interrupted():
        with whole_file(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_nothing_is_there_after_a_first_write_that_fails(tmp_path):
    def interrupted():
        with whole_file(tmp_path / "file"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(tmp_path) == []


FULL_DISK = """
import resource, sys
from rnneval.errors import RecordError
from rnneval.recordfile import write
from rnneval.records import Gate
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # no file may grow beyond 4 kB: EFBIG, as a full disk ENOSPC
try:
    write(Gate(verdict="fail", reason="x" * 100_000, comparisons=(), warnings=()), sys.argv[1])
except RecordError as error:
    print(error)
"""


def test_the_old_file_stays_when_the_disk_is_full(tmp_path):
    target = tmp_path / "gate.json"
    write(GATE, target)
    done = subprocess.run(
        [sys.executable, "-B", "-c", FULL_DISK, str(target)], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{target}: cannot be written: File too large; what was there is unchanged\n"
    assert read(target) == GATE
    assert names(tmp_path) == ["gate.json"]


def test_a_sync_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    target = tmp_path / "gate.json"
    target.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RecordError, match="No space left on device; what was there is unchanged"):
        write(GATE, target)
    assert target.read_text() == "old"
    assert names(tmp_path) == ["gate.json"]


def test_the_data_is_synced_before_it_takes_its_place(tmp_path, monkeypatch):
    seen = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (seen.append("sync"), sync(descriptor)))
    monkeypatch.setattr(Path, "replace", lambda path, to: (seen.append("replace"), replace(path, to)))
    write(GATE, tmp_path / "gate.json")
    assert seen == ["sync", "replace"]


def test_a_missing_folder_or_a_folder_in_the_way_is_known_before_the_work(tmp_path):
    for place, problem in ((tmp_path / "no" / "file", "No such file or directory"), (tmp_path, "it is a folder")):
        with pytest.raises(RecordError, match=f"cannot be written: {problem}"), whole_file(place):
            pytest.fail("the block must not start")


def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "one.json").write_text("old")
    for name in ("one.json", "not there yet.json"):
        link = tmp_path / f"link to {name}"
        link.symlink_to(Path("runs") / name)
        write(GATE, link)
        assert link.is_symlink()
        assert read(tmp_path / "runs" / name) == GATE
    assert (names(tmp_path / "runs")) == ["not there yet.json", "one.json"]


def test_a_pipe_gets_the_content_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()), daemon=True)
    reader.start()
    write(GATE, pipe)
    reader.join(timeout=5)
    assert found == [encode(GATE)]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert names(tmp_path) == ["pipe"]


@pytest.fixture
def no_replace(monkeypatch):
    """Were a device replaced, the test must not do it: it may run as root."""
    monkeypatch.setattr(Path, "replace", lambda _, to: pytest.fail(f"{to} is about to be replaced"))


def test_dev_null_is_not_replaced_by_a_file(no_replace):
    write(GATE, "/dev/null")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_dev_full_is_a_full_disk(no_replace):
    with pytest.raises(RecordError, match="/dev/full: cannot be written: No space left on device"):
        write(GATE, "/dev/full")


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_permissions_are_those_of_an_ordinary_file(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write(GATE, tmp_path / "gate.json")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "gate.json").stat().st_mode) == mode


def test_the_umask_of_other_threads_is_never_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", lambda _: pytest.fail("umask belongs to the whole process"))
    write(GATE, tmp_path / "gate.json")


def test_the_longest_name_a_folder_takes(tmp_path):
    name = "\U0001f600" * 62 + ".json1"  # 254 bytes
    write(GATE, tmp_path / name)
    assert names(tmp_path) == [name]


def test_two_writers_do_not_mix_the_last_one_stays(tmp_path):
    target = tmp_path / "file"
    with whole_file(target) as first:
        first.write_text("first")
        with whole_file(target) as second:
            assert second != first
            second.write_text("second")
        assert target.read_text() == "second"
    assert target.read_text() == "first"
    assert names(tmp_path) == ["file"]


def test_a_reader_beside_many_writers_sees_whole_records_only(tmp_path):
    target = tmp_path / "gate.json"
    versions = [Gate(verdict="fail", reason=mark * 50_000, comparisons=(), warnings=()) for mark in "ab"]
    write(versions[0], target)
    writers = [threading.Thread(target=lambda v=v: [write(v, target) for _ in range(20)]) for v in versions]
    for writer in writers:
        writer.start()
    seen = 0
    while any(writer.is_alive() for writer in writers) or seen == 0:
        assert read(target) in versions
        seen += 1
    assert names(tmp_path) == ["gate.json"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _replaced(**changes) -> Comparison:
    return msgspec.structs.replace(COMPARISON, **changes)
