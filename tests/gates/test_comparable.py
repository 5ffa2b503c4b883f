"""Every reason for which two runs do not compare, with the field that differs named."""

import re

import pytest

from rnneval import compare
from rnneval.gates.verdicts import NamedRecord, gate
from tests.gates.synthetic import SIGNATURE, ar_losses, make_run

LOSSES = ar_losses(128)
BASELINE = make_run(LOSSES)
BITS = {"bits_per_char": "+0.01"}


def with_field(name, value):
    old = next(part for part in SIGNATURE.split("|") if part.startswith(f"{name}:"))
    return SIGNATURE.replace(old, f"{name}:{value}")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"content": "another"}, "text.sha256"),
        ({"signature": with_field("tok", "byte")}, "signature.tok"),
        ({"signature": with_field("norm", "lower")}, "signature.norm"),
        ({"signature": with_field("state", "reset-100")}, "signature.state"),
        ({"signature": with_field("defs", "2")}, "signature.defs"),
        ({"signature": f"{SIGNATURE}|new:1"}, "signature.new"),
        ({"unknown": 3, "vocabulary": "another"}, "vocabulary.sha256"),
        ({"tokens": [255, *[256] * 126, 128]}, "blocks.tokens"),
        ({"document": [0] * 64 + [1] * 64}, "blocks.document"),
    ],
)
def test_the_field_that_differs_is_named(changes, field):
    found = gate(make_run(LOSSES + 0.1, **changes), baseline=BASELINE)
    assert found.verdict == "not comparable"
    assert found.comparisons[0].reason.startswith(f"{field}: ")
    assert "make this run the baseline (gate --update)" in found.reason
    assert found.comparisons[0].low is None


def test_every_part_of_the_signature_that_differs_is_named():
    words = SIGNATURE.replace("tok:char", "tok:word").replace("unk:error", "unk:<unk>")
    lower = with_field("norm", "lower")  # of the same file; the hash is that of the lowercase text
    for signature, content, named in [
        (words, "text", ["signature.tok", "signature.unk"]),
        (words, "another", ["signature.tok", "signature.unk", "text.sha256"]),
        (lower, "lowercase", ["signature.norm"]),
    ]:
        reason = (
            gate(make_run(LOSSES, signature=signature, content=content, unknown=2), baseline=BASELINE)
            .comparisons[0]
            .reason
        )
        assert re.findall(r"(?:^|; )([a-z]+\.[a-z0-9]+): ", reason) == named
        assert "--allow" not in reason  # it would not help


@pytest.mark.parametrize(("unknown", "verdict"), [(0, "pass"), (1, "not comparable")])
def test_what_is_done_with_unknown_tokens_matters_where_there_are_some(unknown, verdict):
    one = make_run(LOSSES, unknown=unknown)
    other = make_run(LOSSES, signature=with_field("unk", "[UNK]"), unknown=unknown)
    assert gate(other, baseline=one).verdict == verdict
    assert bool(compare([one, other]).rows[1].marks) == (verdict != "pass")


def test_other_tokens_alone_are_told_of_bits():
    for changes in ({"signature": with_field("tok", "byte")}, {"tokens": [255, *[256] * 126, 128]}):
        assert "--allow bits_per_char=+0.01" in gate(make_run(LOSSES, **changes), baseline=BASELINE).reason


def test_both_records_of_other_texts_are_named():
    given = [[NamedRecord(name=name, record=make_run(LOSSES, content=name))] for name in ("new.json", "base.json")]
    reason = gate(*given).reason
    for said in ("base.json scored ", "new.json scored ", "evaluate both on the same text", "gate --update"):
        assert said in reason


def test_other_tokens_on_the_same_text_compare_by_bits():
    # Half as many tokens with twice the loss each: the same bits, block by block.
    halves = make_run(LOSSES * 2, tokens=[128] * 128, signature=with_field("tok", "subword-0"))
    found = gate(halves, baseline=BASELINE, allow={"bits_per_char": "+0.02"})
    assert found.comparisons[0].verdict == "pass"
    assert found.comparisons[0].unit == "bits a character"


def test_lossy_tokens_have_no_bits():
    other = make_run(LOSSES, signature=with_field("tok", "word"), lossless=False)
    found = gate(other, baseline=BASELINE, allow=BITS)
    assert found.verdict == "not comparable"
    assert "lossy" in found.comparisons[0].reason
    assert "no metric compares them" in gate(other, baseline=BASELINE).reason


def test_a_state_that_is_not_known_compares_with_nothing_not_even_itself():
    unknown = make_run(LOSSES, signature=with_field("state", "unknown"))
    for candidate, baseline in ((unknown, unknown), (unknown, BASELINE), (BASELINE, unknown)):
        found = gate(candidate, baseline=baseline, allow=BITS)
        assert found.verdict == "not comparable"
        assert found.comparisons[0].reason.startswith("signature.state: it is not known how the state was handled")
    token = make_run(LOSSES, signature=with_field("unk", "unknown"))  # a token of the vocabulary has this name
    assert gate(token, baseline=token).verdict == "pass"
