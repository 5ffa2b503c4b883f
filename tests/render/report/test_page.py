"""What the page says: each sentence and number has an answer known from the record it was made of."""

from math import exp

import msgspec
import pytest

from rnneval.gates import compare, gate
from rnneval.records.run import Ngram, Score, TokenByToken, WiringSummary
from rnneval.render.document import Facts, Fold, Found, KeyNumbers, Notice, Part, Table
from rnneval.render.report import page_of
from rnneval.render.report.sections import CHAPTERS
from tests.gates.synthetic import make_run
from tests.render.report.making import LOSSES, all_kinds, given, good_run, gradients, worse_run, wrong_wiring


def section(page, anchor):
    return next(section for section in page.sections if section.anchor == anchor)


def inside(blocks, kind):
    """Give every block of a kind, however deep."""
    found = []
    for block in blocks:
        if isinstance(block, kind):
            found.append(block)
        if isinstance(block, Part | Fold):
            found += inside(block.blocks, kind)
    return found


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def table(page, anchor, caption):
    return next(table for table in inside(section(page, anchor).blocks, Table) if table.caption == caption)


def test_the_worst_stands_first():
    page = page_of(all_kinds())
    assert [claim.kind for claim in page.claims] == ["fail", "fail", "pass"]
    assert page.claims[0].sentence == (
        "The state is wired wrong in wiring.json: gru_2 starts from the state that gru made in the same call."
    )
    start = "models/worse.keras is worse than models/good.keras by more than is allowed: perplexity +10"
    assert page.claims[1].sentence.startswith(start)
    assert page.claims[2].sentence.startswith("good.keras is the best of 2: ")


def test_a_single_good_run_is_a_sentence_with_its_perplexity_and_what_guessing_would_be():
    page = page_of(given(run=make_run([1.5] * 128, checkpoint="char.keras")))
    (claim,) = page.claims
    assert claim.kind == "pass"
    assert claim.sentence == (
        f"char.keras: on this text it hesitates as between {exp(1.5):.3g} equally likely characters each time; "
        "guessing would be 65."
    )
    assert f"{exp(1.5):.3g}" == "4.48"


def test_the_best_of_several_is_named_but_not_of_what_does_not_compare():
    best = page_of(given(a=worse_run(), b=good_run())).claims[0]
    assert best.sentence.startswith("good.keras is the best of 2: ")
    other = page_of(given(a=worse_run(), b=good_run(content="another text"))).claims[0]
    assert (other.kind, other.sentence) == (
        "note",
        "2 valid evaluations, of which not all compare: they are of different texts or tokens.",
    )


def test_a_run_that_is_not_valid_is_never_called_good():
    leaking = msgspec.structs.replace(
        good_run(valid=False),
        wiring=WiringSummary(verdict="fail", reason="future-leak", findings=wrong_wiring().findings),
        token_by_token=TokenByToken(segment=1, total_nats=9.0 * 128 * 255),
    )
    page = page_of(given(run=leaking))
    assert [claim.kind for claim in page.claims] == ["fail", "fail"]
    assert "it is shown what it should predict" in page.claims[1].sentence
    assert inside(section(page, "numbers").blocks, KeyNumbers) == []
    assert any("one token at a time" in notice.text for notice in inside(section(page, "wiring").blocks, Notice))


def test_a_wiring_that_is_told_by_its_own_record_is_not_told_again_by_the_run():
    wiring = wrong_wiring()
    summary = WiringSummary(verdict=wiring.verdict, reason=wiring.reason, findings=wiring.findings)
    run = msgspec.structs.replace(good_run(), wiring=summary)
    alone, both = page_of(given(run=run)), page_of(given(run=run, wiring=wiring))
    assert [len(inside(section(page, "wiring").blocks, Found)) for page in (alone, both)] == [1, 1]
    assert [sum("wired wrong" in claim.sentence for claim in page.claims) for page in (alone, both)] == [1, 1]
    other = msgspec.structs.replace(run, wiring=msgspec.structs.replace(summary, reason="another"))
    assert len(inside(section(page_of(given(run=other, wiring=wiring)), "wiring").blocks, Found)) == 2


def test_of_a_wiring_that_is_right_the_tables_are_folded():
    for verdict, folded in (("pass", True), ("fail", False)):
        wiring = wrong_wiring(verdict=verdict)
        (part,) = section(page_of(given(wiring=wiring)), "wiring").blocks
        assert any(isinstance(block, Fold) for block in part.blocks) is folded


@pytest.mark.parametrize(
    ("candidate", "kind", "start"),
    [
        (
            good_run(),
            "pass",
            "models/good.keras is not worse than models/good.keras by more than is allowed: perplexity 0",
        ),
        (
            worse_run(),
            "fail",
            "models/worse.keras is worse than models/good.keras by more than is allowed: perplexity +10",
        ),
        (
            good_run(content="other"),
            "unsure",
            "models/good.keras and models/good.keras cannot be compared: text.sha256: other",
        ),
    ],
)
def test_what_a_gate_says(candidate, kind, start):
    page = page_of(given(gate=gate(candidate, baseline=good_run())))
    assert page.claims[0].kind == kind
    assert page.claims[0].sentence.startswith(start)


def test_what_a_short_text_says():
    short = [1.5] * 20
    page = page_of(given(gate=gate(make_run(short), baseline=make_run([1.4, *short[1:]]))))
    assert page.claims[0].kind == "unsure"
    assert page.claims[0].sentence.startswith(
        "This text is too short to say whether model.keras is worse than model.keras"
    )


def test_the_flow_matrix_is_the_records():
    matrix = table(page_of(given(wiring=wrong_wiring())), "wiring", "What went into each state, and where it came from")
    assert matrix.head == ("into ↓   from →", "gru.h", "gru_2.h", "initial")
    assert texts(matrix) == [
        ["gru.h", "carried (1–3)", "–", "initial (0)"],
        ["gru_2.h", "crossed (0–1,3)", "–", "–"],
    ]
    assert [[cell.kind for cell in row] for row in matrix.rows] == [
        [None, "pass", None, "note"],
        [None, "fail", None, None],
    ]


def test_a_finding_has_its_place_what_to_write_and_the_rules_own_text():
    (found,) = inside(section(page_of(given(wiring=wrong_wiring())), "wiring").blocks, Found)
    assert (found.rule, found.place, found.kind) == ("shared-state", "model.py:18", "fail")
    assert found.help == "write `x, s2 = self.gru_2(x, initial_state=s2)`"
    assert found.about.startswith("## What it finds")


def test_what_is_wired_wrong_stands_before_what_is_right():
    right = wrong_wiring(verdict="pass", findings=())
    parts = section(page_of(given(right=right, wrong=wrong_wiring())), "wiring").blocks
    assert [part.title for part in parts] == ["wrong.json", "right.json"]


def test_many_findings_fold():
    findings = wrong_wiring().findings * 9
    blocks = section(page_of(given(wiring=wrong_wiring(findings=findings))), "wiring").blocks
    assert len(inside(blocks, Found)) == 9
    (fold,) = [fold for fold in inside(blocks, Fold) if "findings" in fold.title]
    assert (fold.title, len(fold.blocks)) == ("3 more findings", 3)


def test_every_token_is_accounted_for():
    run = make_run([2.0] * 128, document=[0] * 64 + [1] * 64, unknown=3)
    facts = {
        f.name: f.text
        for facts in inside(section(page_of(given(run=run)), "numbers").blocks, Facts)
        for f in facts.rows
    }
    assert facts["tokens"] == "32,768 = 32,766 scored + 2 unscored; 3 unknown"
    assert facts["signature"] == run.signature


def test_every_score_of_the_record_is_a_row():
    run = good_run()
    rows = texts(table(page_of(given(run=run)), "numbers", "All scores"))
    assert [row[0] for row in rows] == list(run.scores)


def test_a_trace_repeats_the_numbers_of_an_evaluation_and_they_stand_once():
    run = good_run()
    traced = msgspec.structs.replace(run, created="2026-01-02T00:00:00+00:00")
    parts = section(page_of(given(run=run, trace=traced)), "numbers").blocks
    assert [part.title for part in parts if isinstance(part, Part)] == ["The evaluation"]


def test_a_folder_of_runs_is_a_table_best_first_and_the_rest_folds():
    runs = {f"run{i:02}": make_run([1.0 + i / 100] * 128, checkpoint=f"m{i:02}.keras") for i in reversed(range(40))}
    page = page_of(given(**runs))
    first, rest, *_ = inside(section(page, "numbers").blocks, Table)
    assert [row[0] for row in texts(first)] == [f"m{i:02}.keras" for i in range(30)]
    assert [row[0] for row in texts(rest)] == [f"m{i:02}.keras" for i in range(30, 40)]
    assert page.title == "40 models"


def test_a_run_that_is_not_valid_stands_last_and_without_a_score():
    leaking = make_run([0.1] * 128, checkpoint="leaking.keras", valid=False)
    first, *_ = inside(section(page_of(given(leaking=leaking, good=good_run())), "numbers").blocks, Table)
    assert [row[:3] for row in texts(first)] == [
        ["good.keras", "yes", texts(first)[0][2]],
        ["leaking.keras", "no", "–"],
    ]
    assert texts(first)[1][3:6] == ["–", "–", "–"]


def test_baselines_stand_in_the_order_of_what_they_cost():
    run = make_run([1.0] * 128, baselines={"uniform": 4.0, "unigram": 3.0})
    (rows,) = [texts(t) for t in inside(section(page_of(given(run=run)), "baselines").blocks, Table)]
    assert [row[:2] for row in rows] == [["model.keras", "1"], ["unigram", "3"], ["uniform", "4"]]
    assert rows[1][3] == "+2.885"  # (3 − 1) nats in bits: 2 / ln 2


def test_ngrams_are_named_with_the_one_that_the_model_is_as_good_as():
    run = make_run([1.5] * 128)
    change = Score(value=0.5, unit="nats a token", low=0.4, high=0.6)
    best = Ngram(
        order=3, discounts=("modified",) * 3, fitted_tokens=1000, fitted_sha256="0" * 64,
        nats=tuple(1.0 * tokens for tokens in run.blocks.tokens), change=change,
    )  # fmt: skip
    run = msgspec.structs.replace(run, ngram=best, baselines={"ngram-2": 2.0, "ngram-3": 1.0, "uniform": 4.0})
    (table,) = inside(section(page_of(given(run=run)), "baselines").blocks, Table)
    assert [row[0] for row in texts(table)] == ["ngram-3", "model.keras", "ngram-2", "uniform"]
    assert [row[3] for row in texts(table)][:2] == ["−0.721", "best model"]  # half a nat in bits
    assert texts(table)[0][4] == "counts what follows the 2 tokens before it"
    assert table.note.startswith("model.keras: as good as ngram-2, worse than ngram-3; +0.5000 nats a token beside ngr")


def test_findings_of_the_inside_stand_there_and_not_among_the_warnings():
    run = good_run()
    page = page_of(given(run=run, gradients=gradients(run)))
    (found,) = inside(section(page, "inside").blocks, Found)
    assert (found.rule, found.message) == ("vanishing-gradients", "gone after 2")
    assert [s.anchor for s in page.sections] == ["numbers", "baselines", "inside", "made"]


def test_gradients_are_the_records():
    run = good_run()
    rows = texts(table(page_of(given(g=gradients(run))), "inside", "Gradients back through time"))
    assert rows == [["gru.h", "0.5", "0.005", "0.5", "after 2"]]


def test_compared_runs_are_a_table():
    ranking = compare([good_run(), worse_run()], blocks=2)
    page = page_of(given(compare=ranking))
    rows = texts(table(page, "comparisons", "Best first"))
    assert [row[0] for row in rows] == [row.name for row in ranking.rows]
    assert rows[1][2].startswith("+10")  # 0.1 nats are 10.5 per cent of perplexity
    assert page.claims[0].kind == "note"


def test_the_command_can_be_copied_into_a_shell():
    page = page_of(given(run=good_run()))
    (code,) = [block for part in section(page, "made").blocks for block in part.blocks if hasattr(block, "label")]
    assert code.text == "rnneval evaluate 'a b.keras'"


def test_every_record_is_told_how_it_was_made():
    page = page_of(all_kinds())
    assert [block.title for block in section(page, "made").blocks] == list(page.records)


def test_anchors_are_distinct_and_verdicts_lead_somewhere():
    page = page_of(all_kinds())
    parts = [part.anchor for s in page.sections for part in inside(s.blocks, Part) if part.anchor]
    anchors = [s.anchor for s in page.sections] + parts
    assert len(set(anchors)) == len(anchors)
    assert {claim.anchor for claim in page.claims} <= set(anchors)


def test_the_sections_have_their_order():
    names = [make.__name__ for make in CHAPTERS]
    assert names == ["wiring", "checkpoints", "numbers", "baselines", "diagnostics", "comparisons", "warnings", "made"]


def test_sections_are_pure(monkeypatch):
    records = all_kinds()
    assert msgspec.to_builtins(page_of(records)) == msgspec.to_builtins(page_of(records))
    assert LOSSES.shape == (128,)
