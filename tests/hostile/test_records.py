"""Records that are too large, or say a thing twice."""

import json

import pytest

from rnneval.errors import RecordError
from rnneval.records import Gate, decode
from tests.hostile.cost import ROOT, cost, require_refused

RUN = (ROOT / "docs" / "records" / "run.json").read_text(encoding="utf-8")
LARGEST = 1 << 26


def test_a_key_that_stands_twice_is_refused():
    """Before: the later one won, so that a run that is not valid was valid."""
    twice = RUN.replace('"valid":', '"valid": false, "valid":', 1)
    assert json.loads(twice) == json.loads(RUN)
    with pytest.raises(RecordError, match=r"run: .*the key 'valid' stands twice in one object"):
        decode(twice, "run")
    with pytest.raises(RecordError, match="the key 'value' stands twice"):
        decode(RUN.replace('"value":', '"value": 1, "value":', 1))


def test_a_record_of_a_gigabyte(tmp_path):
    """Before: 2.9 GB of memory."""
    with (tmp_path / "run.json").open("wb") as file:
        file.write(RUN.encode())
        file.truncate(1 << 30)
    for command in (["report", "run.json", "--out", "r.html"], ["gate", "run.json", "--require", "perplexity<=9"]):
        done = cost(*command, cwd=tmp_path)
        require_refused(done, "run.json: 67,108,865 bytes, a record may have 67,108,864", mb=400)


@pytest.mark.sampled(6)
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
