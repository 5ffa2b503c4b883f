"""What the page says: each sentence and number has an answer known from the record it was made of."""

import json
from math import exp

import msgspec
import pytest

from rnneval.gates.sides import NamedRecord, side
from rnneval.gates.verdicts import gate
from rnneval.records.run import BuilderRecord, LayerRecord, TokenByToken, WiringSummary
from rnneval.render.document import FactList, Fold, KeyNumbers, Notice, Picture, Subsection, TableBlock
from rnneval.render.report import PageRecord, html_of, page_of
from tests.gates.synthetic import SIGNATURE, make_run, sha
from tests.render.figures.made import history
from tests.render.report.making import all_kinds, given, good_run, worse_run, wrong_wiring


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


def test_faults_in_calls_that_no_run_makes_are_no_wrong_state():
    (finding,) = wrong_wiring().findings
    finding = msgspec.structs.replace(finding, rule="padding-leak", message="A padded row differs. And so on.")
    page = page_of(given(wiring=wrong_wiring(findings=(finding,), reason="padding-leak")))
    said = "Calls that should agree do not"
    assert page.claims[0].sentence == f"{said} in the checked model: A padded row differs."
    assert inside(section(page, "wiring").blocks, Notice)[0].title == said


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


def test_every_token_is_accounted_for():
    run = make_run([2.0] * 128, document=[0] * 64 + [1] * 64, unknown=3)
    facts = {
        f.name: f.text
        for facts in inside(section(page_of(given(run=run)), "numbers").blocks, FactList)
        for f in facts.rows
    }
    assert facts["tokens"] == "32,768 = 32,766 scored + 2 unscored; 3 unknown"
    assert facts["signature"] == run.signature


def said(page):
    """Give every text of a page."""
    plain = msgspec.to_builtins(page)
    return json.dumps(plain, ensure_ascii=False)


def test_models_are_called_by_their_own_names_and_not_by_the_files_of_records():
    good, worse = good_run(), worse_run()
    verdict = gate([NamedRecord(name="out/new.json", record=worse)], [NamedRecord(name="out/base.json", record=good)])
    records = [PageRecord(name="out/base.json", record=good), PageRecord(name="out/new.json", record=worse)]
    page = page_of([*records, PageRecord(name="gate.json", record=verdict)])
    assert page.claims[0].sentence.startswith("worse against good: perplexity beyond the margin: ")
    assert inside(section(page, "comparisons").blocks, Subsection)[0].title == "worse against good"
    assert not any(".json" in text for claim in page.claims for text in (claim.sentence,))
    alone = page_of([PageRecord(name="gate.json", record=verdict)])
    assert alone.claims[0].sentence.startswith("new against base: perplexity beyond the margin: ")


def test_the_title_counts_the_models_that_the_claims_count():
    runs = {f"m{n}": msgspec.structs.replace(good_run(), checkpoint=msgspec.structs.replace(
        good_run().checkpoint, path=f"m{n}.keras", sha256=sha(str(n)))) for n in range(6)}  # fmt: skip
    checked = {name: msgspec.structs.replace(run, wiring=WiringSummary(verdict="pass", reason="right", findings=()))
               for name, run in runs.items()}  # fmt: skip
    other = wrong_wiring(verdict="pass", reason="right", findings=(), flow=())
    page = page_of(given(**checked, other=other))
    said = next(claim.sentence for claim in page.claims if claim.anchor == "wiring")
    assert (page.title, said.split(": ")[0]) == ("7 models", "The state is wired right in 7 models")


def test_two_builders_make_two_models_of_one_file():
    right, wrong = good_run(), good_run(valid=False)
    runs = {"right": right, "wrong": wrong}
    named = {name: msgspec.structs.replace(run, checkpoint=built(run, f"{name}.py:M")) for name, run in runs.items()}
    page = page_of(given(**named))
    assert page.title == "good (right) and good (wrong)"
    shown = texts(table(page, "numbers", "2 evaluations, best first"))
    assert [row[:2] for row in shown] == [["good (right)", "yes"], ["good (wrong)", "no"]]
    same = page_of(given(**{name: msgspec.structs.replace(run, checkpoint=built(run)) for name, run in runs.items()}))
    assert same.title == "good"  # one file, one builder: one model
    assert len(side([NamedRecord(name=name, record=run) for name, run in named.items()], "candidate").runs) == 2


def test_a_wiring_record_that_fails_is_not_of_a_model_whose_own_check_passed():
    wiring = wrong_wiring()
    layers = tuple(LayerRecord(name=e.name, path=e.path, kind=e.kind, units=4, slots=e.slots) for e in wiring.layers)
    run = good_run(wiring=WiringSummary(verdict="pass", reason="as it should be", findings=()))
    run = msgspec.structs.replace(run, checkpoint=msgspec.structs.replace(run.checkpoint, layers=layers))
    page = page_of([PageRecord(name="good.json", record=run), PageRecord(name="other.json", record=wiring)])
    assert page.claims[0].sentence.startswith("The state is wired wrong in other:")


def built(run, builder="model.py:M"):
    return msgspec.structs.replace(run.checkpoint, builder=BuilderRecord(name=builder, sha256=sha(builder)))


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


def test_a_model_that_is_worse_than_a_baseline_is_not_called_good():
    run = msgspec.structs.replace(make_run([1.5] * 128), baselines={"uniform": 4.0, "ngram-3": 1.2})
    page = page_of(given(run=run))
    first, second = page.claims
    assert (first.kind, first.anchor, second.kind) == ("unsure", "baselines", "note")
    assert first.sentence == "model is worse than an n-gram of 3 characters: 1.50 nats a token against 1.20."
    assert not any("best model" in row for row in texts(table(page, "baselines", "Lowest loss first")))


def test_gradient_norms_of_each_of_several_models_are_open():
    found = section(page_of(given(one=good_run(), two=worse_run(), grads=history({"gru": [1, 2, 3]}))), "inside").blocks
    (table,) = [part for part in found if isinstance(part, Subsection)]
    assert table.title == "Training: gradient norm of each layer"
    assert [picture.key for picture in table.blocks] == ["grads.json/gradient_history"]


def test_a_run_with_a_problem_hides_no_warning_about_one_whose_name_begins_alike():
    runs = {
        "a": make_run([1.5] * 128, checkpoint="gru.keras", valid=False),
        "b": make_run([4.6] * 128, checkpoint="gru2.keras"),
        "c": make_run([1.7] * 128, checkpoint="lstm.keras"),
    }
    blocks = [block for part in page_of(given(**runs)).sections for block in inside(part.blocks, Notice)]
    notices = [block.text for block in blocks]
    assert "gru2: 4.6 nats a token is worse than uniform guessing (4.17)" in notices
