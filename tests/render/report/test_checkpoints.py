"""The chapter on a sweep: every checkpoint in its place, what failed with its reason, and the curve once."""

from math import nan

from rnneval.render.document import Picture, TableBlock
from rnneval.render.report import Given, page_of
from tests.render.figures import made
from tests.render.report.making import good_run
from tests.render.report.test_page import inside, section, texts


def swept(**options):
    """A sweep of four good checkpoints, and what the options add."""
    source = made.sweep({"gru": [3.0, 2.5, 2.75], "lstm": [2.875]}, **options)
    frame = source.frame
    frame["perplexity"] = 2.0 ** frame["bits_per_char"]
    frame["perplexity_low"] = frame["perplexity"].where(frame["bits_per_char"] < 2.6) - 1
    frame["perplexity_high"] = frame["perplexity"] + 1
    frame["tokens_per_second"] = 1234.4
    return Given(name="results/sweep.parquet", record=source)


def tables(page):
    return {table.caption: table for table in inside(section(page, "checkpoints").blocks, TableBlock)}


def test_every_checkpoint_best_first_and_what_failed_with_its_reason():
    given = swept(failed=1)
    frame = given.record.frame
    frame["rule"], frame["error"] = None, None
    frame.loc[4, ["rule", "error", "tokens_per_second"]] = ["pickle", "a pickle:\nreading one runs code", nan]
    frame.loc[3, ["status", "rule", "error"]] = ["not-valid", "future-leak", "it sees what it should predict"]
    page = page_of([given])
    found = tables(page)
    whole = found["5 checkpoints, best first"]
    assert whole.head[5:] == ("epoch", "tokens/s", "")  # no step stands in any name
    assert texts(whole) == [
        ["gru/ckpt_2.keras", "yes", "5.6569", "4.6569 – 6.6569", "2.5", "2", "1,234", "best"],
        ["gru/ckpt_3.keras", "yes", "6.7272", "–", "2.75", "3", "1,234", ""],
        ["gru/ckpt_1.keras", "yes", "8", "–", "3", "1", "1,234", ""],
        ["lstm/ckpt_1.keras", "not-valid", "–", "–", "–", "1", "–", "not-valid: future-leak"],
        ["bad_0.h5", "failed", "–", "–", "–", "–", "–", "failed: pickle"],
    ]
    assert texts(found["Failed, or not valid"]) == [
        ["lstm/ckpt_1.keras", "future-leak", "it sees what it should predict"],
        ["bad_0.h5", "pickle", "a pickle: reading one runs code"],
    ]
    assert page.title == "5 checkpoints"
    assert [(claim.kind, claim.sentence) for claim in page.claims] == [
        ("fail", "2 of 5 checkpoints failed or are not valid: lstm/ckpt_1.keras, bad_0.h5."),
        ("pass", "Of 5 checkpoints, gru/ckpt_2.keras is best, at epoch 2: 2.50 bits per character, 2.75 at the end."),
    ]


def test_the_curve_stands_there_once_beside_the_best_run():
    page = page_of([swept(), Given(name="best.json", record=good_run())])
    assert [section.anchor for section in page.sections][:2] == ["checkpoints", "numbers"]
    keys = [picture.key for part in page.sections for picture in inside(part.blocks, Picture)]
    assert keys.count("results/sweep.parquet/learning_curve") == 1
    assert section(page, "numbers").blocks[0].blocks[0].title.startswith("good on ")
    assert {claim.kind for claim in page.claims} == {"pass"}
