import json

import msgspec
import pytest
from msgspec.structs import replace

from rnneval.errors import RecordError
from rnneval.gates import compare, gate
from rnneval.records import Finding, Gate, Run, Wiring, encode, read, write
from rnneval.records.encoding import problems
from rnneval.records.gate import Comparison
from tests.gates.synthetic import ar_losses, make_run

RUN = make_run(ar_losses(128))
FAILED = Comparison(
    metric="perplexity",
    baseline="a",
    candidate="b",
    unit="nats a token",
    difference=0.1,
    low=0.05,
    high=0.2,
    verdict="fail",
    reason="",
    method="t",
    about="these checkpoints",
)
FOUND = Finding(rule="crossed-state", severity="error", message="", help="")
WIRED = Wiring(
    verdict="pass",
    reason="",
    layers=(),
    flow=(),
    findings=(),
    oracles={},
    declared=(),
    calls=4,
    wired_by="author",
)


def edited(*changes):
    plain = json.loads(encode(RUN))
    for path, value in changes:
        *parents, last = path
        place = plain
        for key in parents:
            place = place[key]
        place[last] = value
    return msgspec.convert(plain, Run)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("total_nats",), 1.0, "blocks.sums.nats and total_nats disagree"),
        (("scores", "perplexity", "value"), 2.0, "scores.perplexity and total_nats disagree"),
        (("scores", "cross_entropy", "value"), 0.5, "scores.cross_entropy and total_nats disagree"),
        (("tokens", "scored"), 1, "blocks.tokens and tokens.scored disagree"),
        (("text", "scored_bytes"), 7, "blocks.scored_bytes and text.scored_bytes disagree"),
        (("blocks", "sums", "nats"), (1.0,), "blocks.sums.nats has 1 entries, blocks.bytes has 128"),
        (("blocks", "sums"), {}, "total_nats is there and blocks.sums.nats is not"),
        (("blocks", "document"), tuple(range(128, 0, -1)), "blocks.document does not rise"),
        (("blocks", "bytes", 3), 0, "blocks.bytes does not rise"),
        (("tokens", "unscored"), 9, "tokens.scored + tokens.unscored and tokens.total disagree"),
        (("text", "documents"), 0, "blocks.document counts to 0 from 0, text.documents is 0"),
        (("scores", "accuracy", "value"), 0.75, "scores.accuracy and the sums of its blocks disagree (0.75 and 0.5)"),
        (("scores", "accuracy", "low"), 0.4, "scores.accuracy has one bound of two"),
        (("states", "gru.h", "saturated"), 1.1, "states.gru.h.saturated is 1.1, a share lies between 0 and 1"),
        (("signature",), "char", "signature 'char' is not of the form"),
    ],
)
def test_a_record_edited_by_hand_is_refused_with_what_disagrees(path, value, said):
    with pytest.raises(RecordError, match="does not add up") as caught:
        gate(edited((path, value)), baseline=RUN)
    assert said in str(caught.value)
    with pytest.raises(RecordError):
        gate(RUN, baseline=edited((path, value)))
    with pytest.raises(RecordError):
        compare([RUN, edited((path, value))])


def test_an_interval_holds_its_own_value_and_says_how_it_was_made():
    score = {**json.loads(encode(RUN))["scores"]["accuracy"], "low": 0.4, "high": 0.49}
    with pytest.raises(RecordError, match=r"accuracy is 0\.5, outside of its own interval 0\.4 to 0\.49"):
        gate(edited((("scores", "accuracy"), score)), baseline=RUN)
    with pytest.raises(RecordError, match="it is not said how they were made"):
        gate(edited((("scores", "accuracy"), {**score, "high": 0.6})), baseline=RUN)


def test_a_score_whose_sums_are_not_kept_is_not_held_against_them():
    changed = edited((("blocks", "sums"), {"nats": RUN.blocks.sums["nats"]}), (("scores", "accuracy", "value"), 0.6))
    assert gate(changed, baseline=RUN).verdict == "pass"


def test_what_is_read_adds_up(tmp_path):
    changed = edited((("total_nats",), 1.0))
    write(changed, tmp_path / "run.json")
    with pytest.raises(RecordError, match=r"run\.json: blocks.*disagree.*does not add up.*with rnneval evaluate$"):
        read(tmp_path / "run.json")


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (Gate(verdict="pass", reason="", comparisons=(FAILED,), warnings=()), "verdict is pass and that of its"),
        (
            Gate(verdict="fail", reason="", comparisons=(replace(FAILED, low=0.3, high=0.2),), warnings=()),
            "low is above high",
        ),
        (
            Gate(verdict="fail", reason="", comparisons=(replace(FAILED, difference=0.4),), warnings=()),
            "the difference lies outside",
        ),
        (replace(WIRED, verdict="fail"), "verdict is fail and its findings have no error"),
        (replace(WIRED, findings=(FOUND,)), "verdict is pass and its findings have an error"),
    ],
)
def test_verdicts_that_contradict_what_they_rest_on(record, said):
    assert said in next(problems(record))


def test_an_untouched_record_is_sound():
    assert gate(RUN, baseline=RUN).verdict == "pass"
