"""What the page says: each sentence and number has an answer known from the record it was made of."""

import dataclasses
import json
from math import exp, nan

import msgspec
import pytest

from rnneval.gates import gate
from rnneval.gates.sides import NamedRecord
from rnneval.gates.verdicts import judge
from rnneval.records.run import Ngram, Score, TokenByToken, WiringSummary
from rnneval.records.run import Warning as RunWarning
from rnneval.render.document import FactList, Fold, Found, KeyNumbers, Notice, Picture, Subsection, TableBlock
from rnneval.render.report import Given, html_of, page_of
from rnneval.render.report.gathered import Gathered
from tests.gates.synthetic import SIGNATURE, make_run
from tests.render.figures.made import history, state_history
from tests.render.reading import Reader
from tests.render.report.making import all_kinds, given, good_run, gradients, worse_run, wrong_wiring


def section(page, anchor):
    return next(section for section in page.sections if section.anchor == anchor)


def inside(blocks, kind):
    """Give every block of a kind, however deep."""
    found = []
    for block in blocks:
        if isinstance(block, kind):
            found.append(block)
        if isinstance(block, Subsection | Fold):
            found += inside(block.blocks, kind)
    return found


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def table(page, anchor, caption):
    return next(table for table in inside(section(page, anchor).blocks, TableBlock) if table.caption == caption)


def test_the_worst_stands_first():
    page = page_of(all_kinds())
    assert [claim.kind for claim in page.claims] == ["fail", "fail", "pass"]
    assert page.claims[0].sentence == (
        "The state is wired wrong in the checked model: gru_2 starts from the state that gru made in the same call."
    )
    start = "worse against good: perplexity beyond the margin: +10"
    assert page.claims[1].sentence.startswith(start)
    assert page.claims[2].sentence.startswith("good has the lowest loss of 2: ")


def test_a_single_good_run_is_a_sentence_with_its_perplexity_and_what_guessing_would_be():
    page = page_of(given(run=make_run([1.5] * 128, checkpoint="char.keras")))
    (claim,) = page.claims
    assert claim.kind == "pass"
    assert claim.sentence == (
        f"char: on this text its perplexity is {exp(1.5):.3g}; guessing among 65 characters has 65."
    )
    assert f"{exp(1.5):.3g}" == "4.48"


def test_the_best_of_several_is_named_but_not_of_what_does_not_compare():
    best = page_of(given(a=worse_run(), b=good_run())).claims[0]
    assert best.sentence.startswith("good has the lowest loss of 2: ")
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
    assert page.claims[1].sentence == "The run of good is not valid."
    assert inside(section(page, "numbers").blocks, KeyNumbers) == []
    cuts = [notice.text for notice in inside(section(page, "wiring").blocks, Notice) if "cut" in notice.title]
    assert cuts == ["1.502 nats a token in segments of 100 tokens, 8.9651 in segments of 1 token."]
    assert not {"✓", "best", "lowest"} & set(html_of(page, {}).split("</head>")[1].split())


def test_a_wiring_that_is_told_by_its_own_record_is_not_told_again_by_the_run():
    wiring = wrong_wiring()
    summary = WiringSummary(verdict=wiring.verdict, reason=wiring.reason, findings=wiring.findings)
    run = msgspec.structs.replace(good_run(), wiring=summary)
    alone, both = page_of(given(run=run)), page_of(given(run=run, wiring=wiring))
    assert [len(inside(section(page, "wiring").blocks, Found)) for page in (alone, both)] == [1, 1]
    assert [sum("wired wrong" in claim.sentence for claim in page.claims) for page in (alone, both)] == [1, 1]
    for changes in ({"reason": "another"}, {"findings": (msgspec.structs.replace(wiring.findings[0], message="2.2"),)}):
        other = msgspec.structs.replace(run, wiring=msgspec.structs.replace(summary, **changes))
        page = page_of(given(run=other, wiring=wiring))
        assert len(inside(section(page, "wiring").blocks, Found)) == 1
        assert [claim.sentence for claim in page.claims if "wired" in claim.sentence] == [
            "The state is wired wrong in good: gru_2 starts from the state that gru made in the same call."
        ]


@pytest.mark.parametrize(
    ("candidate", "kind", "start"),
    [
        (
            good_run(),
            "pass",
            "good against good: perplexity no difference in any block",
        ),
        (
            worse_run(),
            "fail",
            "worse against good: perplexity beyond the margin: +10",
        ),
        (
            good_run(content="other"),
            "unsure",
            "good against good: perplexity text.sha256: other",
        ),
    ],
)
def test_what_a_gate_says(candidate, kind, start):
    page = page_of(given(gate=gate(candidate, baseline=good_run())))
    assert page.claims[0].kind == kind
    assert page.claims[0].sentence.startswith(start)


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


def test_every_token_is_accounted_for():
    run = make_run([2.0] * 128, document=[0] * 64 + [1] * 64, unknown=3)
    facts = {
        f.name: f.text
        for facts in inside(section(page_of(given(run=run)), "numbers").blocks, FactList)
        for f in facts.rows
    }
    assert facts["tokens"] == "32,768 = 32,766 scored + 2 unscored; 3 unknown"
    assert facts["signature"] == run.signature


def test_a_folder_of_runs_is_a_table_best_first_and_the_rest_folds():
    runs = {f"run{i:02}": make_run([1.0 + i / 100] * 128, checkpoint=f"m{i:02}.keras") for i in reversed(range(40))}
    page = page_of(given(**runs))
    first, rest, *_ = inside(section(page, "numbers").blocks, TableBlock)
    assert [row[0] for row in texts(first)] == [f"m{i:02}" for i in range(30)]
    assert [row[0] for row in texts(rest)] == [f"m{i:02}" for i in range(30, 40)]
    assert page.title == "40 models"


def test_ngrams_are_named_with_the_one_that_the_model_is_as_good_as():
    run = make_run([1.5] * 128)
    change = Score(value=0.5, unit="nats a token", low=0.4, high=0.6)
    best = Ngram(
        order=3, discounts=("modified",) * 3, fitted_tokens=1000, fitted_sha256="0" * 64,
        nats=tuple(1.0 * tokens for tokens in run.blocks.tokens), change=change,
    )  # fmt: skip
    run = msgspec.structs.replace(run, ngram=best, baselines={"ngram-2": 2.0, "ngram-3": 1.0, "uniform": 4.0})
    (table,) = inside(section(page_of(given(run=run)), "baselines").blocks, TableBlock)
    assert [row[0] for row in texts(table)] == ["ngram-3", "model", "ngram-2", "uniform"]
    assert [row[3] for row in texts(table)][:2] == ["−0.5000", "best model"]
    assert texts(table)[0][4] == "counts what follows the 2 tokens before it"
    assert table.note.startswith(
        "model: at least as good as ngram-2, worse than ngram-3; +0.5000 nats a token beside ngr"
    )


def test_gradient_norms_of_each_of_several_models_are_open():
    found = section(page_of(given(one=good_run(), two=worse_run(), grads=history({"gru": [1, 2, 3]}))), "inside").blocks
    (table,) = [part for part in found if isinstance(part, Subsection)]
    assert table.title == "Training: gradient norm of each layer"
    assert [picture.key for picture in table.blocks] == ["grads.json/gradient_history"]


def test_findings_of_the_inside_stand_there_and_not_among_the_warnings():
    run = good_run()
    page = page_of(given(run=run, gradients=gradients(run)))
    (found,) = inside(section(page, "inside").blocks, Found)
    assert (found.rule, found.message) == ("vanishing-gradients", "gone after 2")
    assert [s.anchor for s in page.sections] == ["numbers", "baselines", "inside", "made"]


def test_the_command_can_be_copied_into_a_shell():
    page = page_of(given(run=good_run()))
    (code,) = [block for part in section(page, "made").blocks for block in part.blocks if hasattr(block, "label")]
    assert code.text == "rnneval evaluate 'a b.keras'"


def test_anchors_are_distinct_and_verdicts_lead_somewhere():
    page = page_of(all_kinds())
    parts = [part.anchor for s in page.sections for part in inside(s.blocks, Subsection) if part.anchor]
    anchors = [s.anchor for s in page.sections] + parts
    assert len(set(anchors)) == len(anchors)
    assert {claim.anchor for claim in page.claims} <= set(anchors)


def said(page):
    """Give every text of a page."""
    plain = msgspec.to_builtins(page)
    return json.dumps(plain, ensure_ascii=False)


def test_models_are_called_by_their_own_names_and_not_by_the_files_of_records():
    good, worse = good_run(), worse_run()
    verdict = judge([NamedRecord(name="out/new.json", record=worse)], [NamedRecord(name="out/base.json", record=good)])
    records = [Given(name="out/base.json", record=good), Given(name="out/new.json", record=worse)]
    page = page_of([*records, Given(name="gate.json", record=verdict)])
    assert page.claims[0].sentence.startswith("worse against good: perplexity beyond the margin: ")
    assert inside(section(page, "comparisons").blocks, Subsection)[0].title == "worse against good"
    assert not any(".json" in text for claim in page.claims for text in (claim.sentence,))
    alone = page_of([Given(name="gate.json", record=verdict)])
    assert alone.claims[0].sentence.startswith("new against base: perplexity beyond the margin: ")


def test_models_of_equal_names_are_told_apart_by_the_folders_of_their_records():
    """Every training of a tutorial writes `ckpt_5`."""

    def trained(run, sha256):
        return msgspec.structs.replace(
            run, checkpoint=msgspec.structs.replace(run.checkpoint, path="ckpt_5.weights.h5", sha256=sha256)
        )

    runs = {"one": trained(good_run(), "1" * 64), "two": trained(worse_run(), "2" * 64)}
    records = [Given(name=f"{folder}/run.json", record=run) for folder, run in runs.items()]
    gathered = Gathered(records)
    assert [model.name for model in gathered.models] == ["ckpt_5 (one/run)", "ckpt_5 (two/run)"]
    (both,) = gathered.together
    assert [run.title for run in both.record] == ["ckpt_5 (one/run)", "ckpt_5 (two/run)"]


def test_a_wiring_record_is_matched_with_its_model_by_name_folder_or_layers():
    right = wrong_wiring(verdict="pass", findings=(), layers=wrong_wiring().layers[:1])  # gru, as in the runs
    for name, other in (("good.wiring.json", "worse.json"), ("a/check.json", "b/worse.json"), ("x.json", None)):
        records = [Given(name=name.replace("wiring", "run").replace("check", "run"), record=good_run())]
        records += [Given(name=other, record=worse_run())] if other else []
        page = page_of([*records, Given(name=name, record=right)])
        assert "The state is wired right in good: each layer gets its own back." in [c.sentence for c in page.claims]
    both = page_of([*records, Given(name="y/worse.json", record=worse_run()), Given(name="z/x2.json", record=right)])
    assert any("wired right in x2" in claim.sentence for claim in both.claims if claim.anchor == "wiring")


def test_an_absolute_path_is_shown_without_its_folder():
    checkpoint = "/home/someone/secret/models/char.keras"
    run = make_run([1.5] * 128, checkpoint=checkpoint)
    texts = [msgspec.structs.replace(file, path="/home/someone/data/held out.txt") for file in run.text.files]
    command = (
        "rnneval",
        "evaluate",
        checkpoint,
        "--out=/home/someone/out/r.json",
        "--vocab",
        "C:\\Users\\me\\v.json",
    )
    run = msgspec.structs.replace(run, text=msgspec.structs.replace(run.text, files=tuple(texts)), command=command)
    (finding,) = wrong_wiring().findings
    wiring = wrong_wiring(findings=(msgspec.structs.replace(finding, file="/home/someone/code/model.py"),))
    page = page_of([Given(name="/srv/x/run.json", record=run), Given(name="/srv/x/wiring.json", record=wiring)])
    html = html_of(page, {})
    assert [word for word in ("/home", "/srv", "someone", "Users") if word in html] == []
    assert "rnneval evaluate char.keras --out=r.json --vocab" in Reader(html).said
    assert "model.py:18" in html


def test_what_two_records_say_of_one_model_is_a_warning_once():
    def warned(seconds, code="threads"):
        return msgspec.structs.replace(good_run(), warnings=(RunWarning(code=code, message=f"took {seconds} s"),))

    page = page_of(given(run=warned(1), trace=warned(22), worse=msgspec.structs.replace(
        worse_run(), warnings=warned(3).warnings)))  # fmt: skip
    (notice,) = section(page, "warnings").blocks
    assert (notice.title, notice.text) == ("good, worse: threads", "took 1 s")
    assert not any(s.anchor == "warnings" for s in page_of(given(run=warned(1, "wiring"))).sections)


def test_no_claim_and_no_card_stands_twice():
    wiring = wrong_wiring()
    summary = WiringSummary(verdict="fail", reason=wiring.reason, findings=wiring.findings)
    run = msgspec.structs.replace(good_run(), wiring=summary, valid=False)
    page = page_of(given(wiring=wiring, again=wiring, run=run, worse=worse_run(), gate=gate(worse_run(), baseline=run)))
    sentences = [claim.sentence for claim in page.claims]
    assert len(set(sentences)) == len(sentences)
    for kind in (Found, Notice, Picture):
        blocks = [block for s in page.sections for block in inside(s.blocks, kind)]
        assert len({msgspec.json.encode(block) for block in blocks}) == len(blocks)


@pytest.mark.parametrize(("unknown", "kind"), [(0, "pass"), (300, "pass"), (4_588, "unsure")])
def test_a_text_of_which_much_is_unknown_is_never_all_well(unknown, kind):
    run = make_run([1.5] * 128, unknown=unknown, signature=SIGNATURE.replace("unk:error", "unk:<unk>"))
    page = page_of(given(run=run))
    assert page.claims[0].kind == kind
    if kind == "unsure":  # 4,588 of 32,768
        assert page.claims[0].sentence.startswith("model does not know 14 % of the characters of this text: ")
    assert ("All is well" in html_of(page, {})) is (kind == "pass")


@pytest.mark.parametrize(
    ("loss", "changes", "word", "sentence"),
    [
        (5.0, {}, "Worse than guessing", "model predicts this text worse than guessing would: 5.00 nats a token."),
        (2212.0, {"baselines": {}}, "Diverged", "model diverged: 2212 nats a byte, far beyond uniform guessing"),
    ],
)
def test_a_model_that_is_worse_than_guessing_is_never_all_well(loss, changes, word, sentence):
    """Guessing among 65 characters costs 4.17 nats, and without baselines a byte 5.55."""
    page = page_of(given(run=make_run([loss] * 128, checkpoint="model.keras", **changes), good=good_run()))
    assert (page.claims[0].kind, page.claims[0].sentence.startswith(sentence)) == ("fail", True)
    blocks = section(page, "numbers").blocks
    assert word in [notice.title for notice in inside(blocks, Notice)]
    html = html_of(page, {})
    assert "All is well" not in html
    assert '<span class="unseen">Right: </span>' in html  # the claim on the good run
    valid = {row[0].text: row[1] for row in inside(blocks, TableBlock)[0].rows}
    assert (valid["good"].text, valid["good"].kind) == ("yes", "pass")
    assert (valid["model"].text, valid["model"].kind) == ("yes, worse than guessing", "unsure")
    assert any(each.title.startswith(f"{word}: ") for each in inside(blocks, Picture))


def test_the_lowest_loss_is_none_of_a_run_that_is_not_valid_or_worse_than_guessing():
    runs = given(good=good_run(), wild=make_run([5.0] * 128, checkpoint="wild.keras"), bad=good_run(valid=False))
    runs[2] = dataclasses.replace(runs[2], record=make_run([0.1] * 128, checkpoint="bad.keras", valid=False))
    sentences = {claim.sentence: claim.kind for claim in page_of(runs).claims}
    best = next(each for each in sentences if each.startswith("good"))
    assert (sentences[best], "lowest" in best) == ("pass", False)
    assert sentences["The run of bad is not valid."] == "fail"
    assert sentences["wild predicts this text worse than guessing would: 5.00 nats a token."] == "fail"


@pytest.mark.parametrize(
    ("table", "title"),
    [
        (state_history([8.0, nan], {}, kept=True), "held-out perplexity is not finite from epoch 1 on"),
        (history({"gru": [1.0, 1e9]}), "the gradient norm reached 1e+09 at step 2"),
    ],
)
def test_a_training_that_diverged_is_the_headline(table, title):
    page = page_of(given(h=table))
    assert page.claims[0].kind == "fail"
    assert page.claims[0].sentence.startswith(f"h: The training run diverged: {title}")
    assert "All is well" not in html_of(page, {})
