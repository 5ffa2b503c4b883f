"""Slim baselines: the verdict is that of the full record whose blocks are merged by hand."""

import math

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from rnneval.gates import compare, gate
from rnneval.gates.sides import slim
from rnneval.records import Run, decode, encode
from tests.gates.synthetic import ar_losses, make_run

COUNT = 391
"""Blocks of 256 bytes in 100,000 characters."""
NOISE = 0.05 * np.random.default_rng(1).normal(size=COUNT)
JITTER = np.random.default_rng(2).integers(0, 129, COUNT - 1).tolist()
"""A block ends at the first white space, up to half a size after the multiple of 256."""
EVERY_SECOND = [*range(1, COUNT, 2), COUNT - 1]
"""17 documents of 23 blocks: every second one ends within a block of 512 bytes."""


def jittered(run: Run) -> Run:
    ends = [end + more for end, more in zip(run.blocks.bytes, [*JITTER, 0], strict=True)]
    return replace(run, blocks=replace(run.blocks, bytes=tuple(ends)))


def base(**options) -> Run:
    return jittered(make_run(ar_losses(COUNT), checkpoint="base", **options))


def candidate(shift: float, **options) -> Run:
    return jittered(make_run(ar_losses(COUNT) + NOISE + shift, checkpoint="new", **options))


def by_hand(run: Run, last: list[int]) -> Run:
    """Merge blocks by plain loops; `last` holds the place of the last part of each merged block."""
    plain = msgspec.to_builtins(run)
    blocks, sums = plain["blocks"], plain["blocks"].pop("sums")
    spans = [range(before + 1, end + 1) for before, end in zip([-1, *last[:-1]], last, strict=True)]
    for name, column in blocks.items():
        of_end = name in ("bytes", "document")
        blocks[name] = [column[span[-1]] if of_end else sum(column[i] for i in span) for span in spans]
    blocks["sums"] = {name: [math.fsum(column[i] for i in span) for span in spans] for name, column in sums.items()}
    return msgspec.convert(plain, Run)


@pytest.mark.parametrize("metric", ["perplexity", "accuracy"])
@pytest.mark.parametrize("shift", [-0.02, 0.00995, 0.1])
def test_verdict_difference_and_error_are_those_of_the_full_record_merged_by_hand(metric, shift):
    accuracy = 0.5 - shift + 0.05 * np.random.default_rng(3).normal(size=COUNT)
    old, new = base(), candidate(shift, accuracy=accuracy)
    allow = {metric: "+1%" if metric == "perplexity" else 0.01}
    found = gate(new, baseline=decode(encode(slim(old))), allow=allow).comparisons[0]
    wanted = gate(by_hand(new, EVERY_SECOND), baseline=by_hand(old, EVERY_SECOND), allow=allow).comparisons[0]
    assert found.verdict == wanted.verdict
    assert found.method == wanted.method == "t, 8 batches of 512-byte blocks"
    assert found.blocks == wanted.blocks == 196
    for number in ("difference", "se", "df", "low", "high", "p_worse", "baseline_value", "candidate_value"):
        assert getattr(found, number) == pytest.approx(getattr(wanted, number), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("documents", "blocks"), [(17, 204), (130, 194), (391, 391)])
def test_at_most_256_blocks_or_one_for_each_document(documents, blocks):
    """Counted by hand: ends of every second or fourth block, and of documents.

    17 documents of 23 blocks: 195 + 8 + 1. 130 of three blocks, the first of four: every second block would give more
    than 256, every fourth gives 97 + 129 − 33 + 1, since 33 ends (3, 15, 27, …) are both.
    """
    document = np.arange(COUNT) * documents // COUNT
    old, new = base(document=document), candidate(0.01, document=document)
    full, small = (gate(new, baseline=each).comparisons[0] for each in (old, slim(old)))
    ends_of_documents = np.array(old.blocks.bytes)[np.diff(document, append=documents) > 0]
    assert set(ends_of_documents.tolist()) <= set(slim(old).blocks.bytes)
    assert len(slim(old).blocks.bytes) == blocks
    assert small.se == pytest.approx(full.se, rel=1e-9)
    assert small.verdict == full.verdict


def test_twenty_kilobytes_hold_a_hundred_thousand_characters():
    full, small = encode(base()), encode(slim(base()))
    assert len(small.encode()) <= 20_000 < len(full.encode())
    kept = decode(small)
    assert set(kept.blocks.sums) == {"nats", "newlines", "top1", "top5"}
    assert kept.states is None
    assert (kept.scores, kept.signature, kept.text, kept.total_nats) == tuple(
        getattr(base(), name) for name in ("scores", "signature", "text", "total_nats")
    )


@pytest.mark.parametrize(("blocks", "kept"), [(1, 1), (257, 129), (512, 256)])
def test_at_most_256_blocks_and_a_slim_record_stays_as_it_is(blocks, kept):
    found = slim(make_run(ar_losses(blocks)))
    assert len(found.blocks.bytes) == kept
    assert slim(found) == found


def test_what_a_slim_baseline_lacks_is_not_comparable_and_named():
    found = gate(candidate(0.0), baseline=slim(base()), allow={"calibration_error": 0.01})
    assert found.verdict == "not comparable"
    assert "scores.calibration_error" in found.reason
    assert "commit a copy of the run record" in found.reason
    full = gate(candidate(0.0), baseline=base(), allow={"calibration_error": 0.01})
    assert full.verdict == "pass"


def test_a_run_on_one_document_merges_no_blocks_of_runs_on_many():
    whole = make_run(ar_losses(32), checkpoint="whole")
    every_fourth = slice(3, None, 4)
    coarse = by_hand(whole, list(range(32))[every_fourth])
    several = [
        make_run(ar_losses(32) + shift, document=np.repeat(np.arange(16), 2), checkpoint=f"{shift}",
                 signature=whole.signature.replace("docs:one", "docs:file"))
        for shift in (0.0, 0.1)
    ]  # fmt: skip
    ranking = compare([*several, coarse])
    assert ranking.rows[1].method.startswith("t, 16 documents")
    assert "signature.docs" in ranking.rows[2].marks[0]
