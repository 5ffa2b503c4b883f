"""Python takes what people have, shows objects in a few lines, and names keyword arguments in errors."""

import inspect

import numpy as np
import pytest
from msgspec import structs

import rnneval
from rnneval.errors import UsageError, VocabularyError, errors_name_flags, in_python
from rnneval.gates.limits import look_up
from tests.gates.synthetic import ar_losses, make_run

LOSSES = ar_losses(128)

LETTERS = "abcd"
TEXT = "abcdabca" * 40


def step(ids, before):
    """Prefer the token that was read last, and later ones the more, the larger the tokens before it were."""
    states = []
    for token in ids.T:
        before = 0.5 * before + 0.1 * token[:, None]
        states.append(before)
    return np.eye(4)[ids] + np.stack(states, axis=1) * np.arange(4), before


def start(batch):
    return np.zeros((batch, 1))


def build(checkpoint, vocabulary):
    return rnneval.from_step(step, start, vocabulary=vocabulary, checkpoint=checkpoint)


@pytest.fixture
def lm():
    return rnneval.from_step(step, start, vocab_size=4)


@pytest.fixture
def paths(tmp_path):
    found = []
    for name, shift in (("a", 0.0), ("b", 0.1)):
        found.append(tmp_path / f"{name}.json")
        make_run(LOSSES + shift, checkpoint=name).save(found[-1])
    return found


def test_a_vocabulary_may_come_with_the_text(lm):
    with pytest.raises(VocabularyError, match=r"no vocabulary was given: give vocabulary=FILE$"):
        rnneval.evaluate(lm, string=TEXT)
    run = rnneval.evaluate(lm, string=TEXT, vocabulary=list(LETTERS))
    assert run.total_nats == rnneval.evaluate(rnneval.wrap(lm, vocabulary=list(LETTERS)), string=TEXT).total_nats


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("model.keras", r"rnneval\.evaluate takes a model, and was given a path: .*rnneval\.open\('model\.keras'\)"),
        (step, r"a function: .*rnneval\.from_step\(step, "),
        (dict, "the class dict"),
        ({}, "a dict: give a Keras model"),
    ],
)
def test_what_is_no_model_is_refused_with_what_to_write(given, said):
    with pytest.raises(UsageError, match=said):
        rnneval.evaluate(given, string=TEXT)


def test_a_function_is_a_builder(tmp_path):
    weights = tmp_path / "w.bin"
    weights.write_bytes(b"w")
    lm = rnneval.open(weights, builder=build, vocabulary=list(LETTERS))
    assert (lm.checkpoint.path, lm.width) == (str(weights), 4)
    with pytest.raises(UsageError, match=r"builder='build': other processes .*FILE\.py:build"):
        rnneval.sweep(tmp_path, tmp_path, out=tmp_path / "out", opening={"builder": build})


def test_records_may_be_paths(paths):
    first, second = map(rnneval.read, paths)
    assert rnneval.gate(paths[0], baseline=str(paths[1])).verdict == rnneval.gate(first, baseline=second).verdict
    assert rnneval.compare(paths).best.name == str(paths[0])
    assert rnneval.compare([paths[0], second]).best.value == rnneval.compare([first, second]).best.value
    with pytest.raises(UsageError, match="the candidate is a int: give a run record, or the path of one"):
        rnneval.gate(3, baseline=second)
    limit = "perplexity<=1e9"
    assert rnneval.gate(first, require=limit).verdict == rnneval.gate(first, require=[limit]).verdict == "pass"
    assert not rnneval.gate(first, require="perplexity<=1")  # `assert gate(…)` holds for a pass alone
    with pytest.raises(UsageError, match=r"metric='bpc': no such metric: did you mean bits_per_char\?"):
        rnneval.compare(paths, metric="bpc")


def test_a_report_is_made_of_records_and_paths(paths, tmp_path):
    page = rnneval.report([rnneval.read(paths[0]), paths[1]], tmp_path / "page.html", title="Two <runs>")
    written = page.read_text()
    assert "<title>Two &lt;runs&gt;" in written
    assert "a has the lowest loss of 2" in written
    with pytest.raises(UsageError, match=r"page\.txt: a page is written to a file with the ending \.html"):
        rnneval.report(paths, tmp_path / "page.txt")


def test_models_in_memory_are_told_apart_by_name_and_a_report_says_what_was_not_checked(tmp_path):
    run = make_run(LOSSES)
    model = structs.replace(run.checkpoint, path="", contract=1)
    named = [structs.replace(run, checkpoint=structs.replace(model, name=name)) for name in ("left", "right")]
    written = rnneval.report(named, tmp_path / "page.html").read_text()
    assert "The wiring of left and right was not checked" in written
    assert written.count("wiring not checked") == 2


def test_a_passage_takes_the_text(lm, tmp_path):
    losses = tmp_path / "losses.parquet"
    rnneval.evaluate(lm, string=TEXT, vocabulary=list(LETTERS), losses=losses)
    assert rnneval.plot.passage(losses, string=TEXT).plain.startswith("abcdabca")
    with pytest.raises(UsageError, match="another hash"):
        rnneval.plot.passage(losses, string=TEXT[1:])
    with pytest.raises(UsageError, match="no text was given"):
        rnneval.plot.passage(losses)


def test_compare_shows_blocks_of_the_file_that_was_scored(tmp_path):
    text = "".join(chr(97 + i % 26) * 256 for i in range(128))
    (tmp_path / "held.txt").write_text(text)
    runs = [make_run(LOSSES + shift, content=text, checkpoint=name) for name, shift in (("a", 0), ("b", 0.1))]
    (block,) = rnneval.compare(runs, blocks=1, text=tmp_path / "held.txt").blocks
    assert block.text == text[block.start : block.end]


def test_a_wiring_record_is_no_candidate_and_a_wrong_name_is_no_figure_or_text(lm, paths, tmp_path):
    with pytest.raises(UsageError, match=r"a\.json' is the name of a file"):
        rnneval.evaluate(lm, string=str(paths[0]), vocabulary=list(LETTERS))
    rnneval.check(lm).save(tmp_path / "w.json")
    with pytest.raises(UsageError, match=r"w\.json: holds rnneval\.wiring/1: no run record as candidate"):
        rnneval.gate(tmp_path / "w.json", baseline=paths[0])
    with pytest.raises(UsageError, match="no figure is called perplexty: did you mean perplexity"):
        rnneval.gate(paths[0], require=["perplexty<=5"])
    assert not look_up(rnneval.read(paths[0]), "states.gru.h.saturated").unknown  # a record may lack it


def test_objects_show_themselves(lm):
    assert len(repr(lm).splitlines()) == 3
    assert "4 logits" in repr(lm)
    assert "vocabulary" in lm._repr_html_()
    assert "valid, wiring pass, bits_per_char" in repr(rnneval.evaluate(lm, string=TEXT, vocabulary=list(LETTERS)))


def test_completion_shows_public_names_alone():
    assert {"evaluate", "wrap", "plot", "metrics"} <= set(dir(rnneval))
    assert not {"Any", "sys", "import_module", "option", "_HOMES"} & set(dir(rnneval))
    assert {"perplexity", "Metric"} <= set(dir(rnneval.metrics))
    assert not {"np", "registry", "_base"} & set(dir(rnneval.metrics))


@pytest.mark.parametrize("name", ["evaluate", "open", "gate", "compare", "from_step", "sweep", "trace", "read"])
def test_help_names_short_types(name):
    shown = str(inspect.signature(getattr(rnneval, name)))
    assert not any(long in shown for long in ("collections.abc", "os.PathLike", "rnneval.", "typing.", "numpy."))


def test_a_loss_is_not_below_0():
    with pytest.raises(ValueError, match=r"nats has -1: .* not the log-probabilities"):
        rnneval.metrics.perplexity([-1, 2])
    assert rnneval.metrics.perplexity([-1e-7, 0]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("flags", "keywords"),
    [
        ("give --vocab FILE (JSON), or --vocab-from TEXT", "give vocabulary=FILE (JSON), or vocabulary_from=TEXT"),
        ("--part 50%:50% of 4", "part='50%:50%' of 4"),
        ("--at 99999: the text", "at=99999: the text"),
        ("--builder train.py:MyModel (of it", "builder train.py:MyModel (of it"),
        ("allow it: --allow bits_per_char=+0.01", "allow it: allow={'bits_per_char': '+0.01'}"),
        ("leave out --no-check", "leave out check=False"),
        ("see rnneval evaluate --out", "see rnneval evaluate --out"),
        ("--rnneval-update makes it", "--rnneval-update makes it"),
    ],
)
def test_errors_speak_python_or_the_command_line(flags, keywords):
    assert in_python(flags) == keywords
    assert str(UsageError(flags)) == keywords
    with errors_name_flags():
        assert str(UsageError(flags)) == flags


def test_bytes_are_given_by_their_own_vocabulary():
    for given in (bytes(range(256)), [bytes([value]) for value in range(256)]):
        with pytest.raises(VocabularyError, match=r"Vocabulary\.from_bytes\(\)"):
            rnneval.from_step(step, start, vocabulary=given)


def test_a_path_and_a_class_are_no_model_to_check():
    with pytest.raises(UsageError, match=r"rnneval\.check takes a model, and was given a path: .*rnneval\.open"):
        rnneval.check("model.keras")
    with pytest.raises(UsageError, match=r"the class dict: give a model that it made, such as dict\(…\)"):
        rnneval.check(dict)
