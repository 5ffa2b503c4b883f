"""Records that are too large, say a thing twice, or hold what a terminal or a page must not get."""

import json

import pytest

from rnneval.errors import RecordError
from rnneval.records import Gate, decode, encode, read, write
from tests.hostile.cost import ROOT, cost, require_refused

RUN = (ROOT / "docs" / "records" / "run.json").read_text(encoding="utf-8")
LARGEST = 1 << 26


def test_a_key_that_stands_twice_is_refused():
    """Before: the later one won, so that a run that is not valid was valid."""
    twice = RUN.replace('"valid":', '"valid": false, "valid":', 1)
    assert json.loads(twice) == json.loads(RUN)
    with pytest.raises(RecordError, match="run: the key 'valid' stands twice in one object: a record says each thing"):
        decode(twice, "run")
    with pytest.raises(RecordError, match="the key 'value' stands twice"):
        decode(RUN.replace('"value":', '"value": 1, "value":', 1))


def test_a_comparison_is_read_as_strictly(tmp_path):
    (tmp_path / "c.json").write_text('{"schema": "rnneval.compare/1", "metric": "a", "metric": "b"}')
    done = cost("report", "c.json", "--out", "r.html", cwd=tmp_path)
    require_refused(done, "c.json: the key 'metric' stands twice", mb=300)
    (tmp_path / "c.json").write_text('{"schema": "rnneval.compare/1", "metric": null}')
    done = cost("report", "c.json", "--out", "r.html", cwd=tmp_path)
    require_refused(done, "c.json: not a valid rnneval.compare/1 record: Expected `str`, got `null`", mb=300)


def test_a_record_of_a_gigabyte(tmp_path):
    """Before: 2.9 GB of memory."""
    with (tmp_path / "run.json").open("wb") as file:
        file.write(RUN.encode())
        file.truncate(1 << 30)
    for command in (["report", "run.json", "--out", "r.html"], ["gate", "run.json", "--require", "perplexity<=9"]):
        done = cost(*command, cwd=tmp_path)
        require_refused(done, "run.json: more than 67,108,864 bytes, the most that a record may have", mb=400)


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("unit", "said"),
    [
        ("0.1,", "unknown field"),
        ("999,", "unknown field"),
        ("1,", "unknown field"),
        ('"a",', " quotation marks, a record may have 1,048,576"),
        ("[],", " lists and objects, a record may have 131,072"),
        ("{},", " lists and objects, a record may have 131,072"),
    ],
)
def test_the_largest_record_of_each_kind_of_value(tmp_path, unit, said):
    """What JSON takes a byte or two for, Python may take a hundred."""
    start = '{"schema": "rnneval.run/1", "x": ['
    (tmp_path / "run.json").write_text(start + unit * ((LARGEST - 100) // len(unit)) + "1]}")
    done = cost("gate", "run.json", "--require", "perplexity<=9", cwd=tmp_path)
    require_refused(done, said, mb=1000)


def gate(reason):
    return Gate(verdict="pass", reason=reason, comparisons=(), warnings=())


def test_what_is_written_can_be_read_to_the_last_byte(tmp_path):
    """Before: a record of more than 64 MB was written and could not be read."""
    room = LARGEST - len(encode(gate("")))
    write(gate("x" * room), tmp_path / "g.json")
    assert (tmp_path / "g.json").stat().st_size == LARGEST
    assert len(read(tmp_path / "g.json").reason) == room
    for reason, said in (("x" * (room + 1), "more than 67,108,864 bytes"), ('"' * (1 << 20), "quotation marks")):
        with pytest.raises(RecordError, match=f"this record cannot be written: .*{said}.* evaluate fewer documents"):
            write(gate(reason), tmp_path / "g.json")
    assert (tmp_path / "g.json").stat().st_size == LARGEST
    assert [path.name for path in tmp_path.iterdir()] == ["g.json"]
