"""The pytest plugin, in test suites of its own."""

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points

import numpy as np
import pytest

import rnneval.gates
import rnneval.render.gate_document
from rnneval.gates.sides import slim
from rnneval.records import encode, read_run
from tests.gates.synthetic import ar_losses, make_run
from tests.gates.test_counting import BETTER, WORSE

# Loaded here, since pytester forgets what a run inside of it imports, and NumPy cannot be loaded twice.
LOADED = (rnneval.gates, rnneval.render.gate_document)
pytest_plugins = ["pytester"]
INSTALLED = any(entry.value == "rnneval.testing.plugin" for entry in entry_points(group="pytest11"))
# Hypothesis' plugin imports all of Hypothesis at the end of every run inside: four fifths of the time.
PLUGIN = (
    "-p",
    "no:cacheprovider",
    "-p",
    "no:hypothesispytest",
    *(() if INSTALLED else ("-p", "rnneval.testing.plugin")),
)
LOSSES = ar_losses(128)
NOISE = 0.01 * np.random.default_rng(0).normal(size=128)


@pytest.fixture
def suite(pytester, monkeypatch):
    """A folder of tests with two records in it; gives a function that runs pytest there."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    for name, shift in (("good", NOISE), ("bad", NOISE + 0.1), ("unsure", NOISE + 0.00995)):
        make_run(LOSSES + shift, checkpoint=name).save(str(pytester.path / f"{name}.json"))
    make_run([*LOSSES[:-1], np.nan], checkpoint="nan").save(str(pytester.path / "nan.json"))
    make_run(LOSSES, valid=False, checkpoint="invalid").save(str(pytester.path / "invalid.json"))
    make_run(LOSSES + 1000, checkpoint="diverged").save(str(pytester.path / "diverged.json"))
    make_run(LOSSES, checkpoint="base").save(str(pytester.path / "base.json"))
    pytester.makepyfile(
        """
        import pytest, rnneval

        def test_model(rnneval_gate):
            rnneval_gate(rnneval.read("candidate.json"))
        """
    )
    use(pytester, "base")

    def run(*arguments):
        return pytester.runpytest_inprocess(*PLUGIN, *arguments)

    return run


def use(pytester, name):
    (pytester.path / "candidate.json").write_bytes((pytester.path / f"{name}.json").read_bytes())


def baseline(pytester):
    (path,) = (pytester.path / "baselines").glob("*.json")
    return path


def test_a_missing_baseline_fails_with_the_line_that_makes_one(suite, pytester):
    result = suite()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*no such baseline; to make it of this run: pytest *::test_model* --rnneval-create"])
    suite("--rnneval-create").assert_outcomes(passed=1)
    assert baseline(pytester).read_text() == encode(slim(read_run(pytester.path / "base.json")))
    suite().assert_outcomes(passed=1)


def test_a_regression_reads_like_an_assertion(suite, pytester):
    suite("--rnneval-create")
    use(pytester, "bad")
    result = suite()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">       rnneval_gate(rnneval.read(*candidate.json*))",
            "E       AssertionError: fail: perplexity: beyond the margin: +10*",
            "E       perplexity *fail*",
        ]
    )
    result.stdout.no_fnmatch_line("*plugin.py*")


def test_noise_passes_and_create_keeps_what_is_there(suite, pytester):
    suite("--rnneval-create")
    before = baseline(pytester).read_bytes()
    use(pytester, "good")
    suite("--rnneval-create").assert_outcomes(passed=1)
    assert baseline(pytester).read_bytes() == before


def test_create_writes_only_what_is_missing(suite, pytester):
    pytester.makepyfile(
        """
        import rnneval

        def test_model(rnneval_gate):
            rnneval_gate([rnneval.read("candidate.json"), rnneval.read("good.json")])
        """
    )
    suite("--rnneval-create")
    kept, lost = sorted((pytester.path / "baselines").glob("*.json"))
    before = kept.read_bytes()
    lost.unlink()
    use(pytester, "bad")
    suite("--rnneval-create").assert_outcomes(passed=1)
    assert kept.read_bytes() == before
    assert lost.is_file()


def test_a_slash_in_a_parameter_takes_nothing_from_the_name_of_the_baseline(suite, pytester):
    pytester.makepyfile(
        """
        import pytest, rnneval

        @pytest.mark.parametrize("model", ["gru/2 layers", "lstm/2 layers"])
        def test_model(rnneval_gate, model):
            rnneval_gate(rnneval.read("candidate.json"))
        """
    )
    suite("--rnneval-create").assert_outcomes(passed=2)
    names = sorted(path.name.partition(".")[2] for path in (pytester.path / "baselines").glob("*.json"))
    assert names == ["test_model-gru-2-layers.json", "test_model-lstm-2-layers.json"]


def test_update_makes_the_run_the_baseline_and_lists_it(suite, pytester):
    suite("--rnneval-create")
    use(pytester, "bad")
    result = suite("--rnneval-update")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*rnneval baselines written*", "baselines*test_model.json"])
    assert baseline(pytester).read_text() == encode(slim(read_run(pytester.path / "bad.json")))


@pytest.mark.parametrize(
    ("name", "said"), [("nan", "is not finite"), ("invalid", "is not valid"), ("diverged", "diverged: ")]
)
def test_what_nothing_compares_with_never_becomes_a_baseline(suite, pytester, name, said):
    use(pytester, name)
    suite("--rnneval-create").assert_outcomes(failed=1)
    assert not list(pytester.path.glob("baselines/*"))
    use(pytester, "base")
    suite("--rnneval-create")
    before = baseline(pytester).read_bytes()
    use(pytester, name)
    suite().assert_outcomes(failed=1)
    result = suite("--rnneval-update")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*no baseline was written*{said}*"])
    assert baseline(pytester).read_bytes() == before


def test_the_folder_is_an_option_or_an_ini_value(suite, pytester):
    suite("--rnneval-create", "--rnneval-baseline", "kept/here")
    assert list((pytester.path / "kept" / "here").glob("*.json"))
    pytester.makeini("[pytest]\nrnneval_baseline = elsewhere\n")
    suite("--rnneval-create")
    assert list((pytester.path / "elsewhere").glob("*.json"))


def test_inconclusive_fails_unless_it_may_warn(suite, pytester):
    suite("--rnneval-create")
    use(pytester, "unsure")
    result = suite()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E       AssertionError: inconclusive: *"])
    test = next(pytester.path.glob("test_*.py"))
    test.write_text(test.read_text().replace('json"))', 'json"), inconclusive="warn")'))
    suite("-W", "default").assert_outcomes(passed=1, warnings=1)


def test_a_broken_baseline_is_one_line(suite, pytester):
    suite("--rnneval-create")
    baseline(pytester).write_text("{")
    result = suite()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*rnneval: *not a whole JSON file*"])
    result.stdout.no_fnmatch_line("*records.py*")


HOSTILE = {
    "nan": (lambda text: text.replace('"total_nats":', '"total_nats": NaN, "was":', 1), "NaN is not a number"),
    "infinite": (lambda text: text.replace('"total_nats":', '"total_nats": 1e999, "was":', 1), "1e999 is not a number"),
    "doubled": (lambda text: text.replace('"valid":', '"valid": false, "valid":', 1), "key 'valid' stands twice"),
    "huge": (lambda text: text + " " * (1 << 26), "more than 67,108,864 bytes"),
    "deep": (lambda _: "[" * 100_000, "not a whole JSON file"),
    "null": (
        lambda text: text.replace('"valid": true', '"valid": null', 1),
        "Expected `bool`, got `null` - at `$.valid`",
    ),
    "list": (lambda _: "[1, 2]", "holds a JSON list"),
    "empty": (lambda _: "", "not a whole JSON file"),
    "surrogate": (lambda text: text.replace('"schema": "rnneval.run/1"', r'"schema": "\ud800"', 1), "is not one of"),
    "escape": (lambda text: text.replace('"schema": "rnneval.run/1"', r'"schema": "\u001b[31m"', 1), "is not one of"),
}


def test_hostile_records_and_baselines_are_one_line_each(suite, pytester):
    """As the run and as the baseline: a failure of one line, never an internal error, and nothing of rnneval's code."""
    sound = (pytester.path / "base.json").read_text(encoding="utf-8")
    for name, (spoil, _) in HOSTILE.items():
        assert spoil(sound) != sound, name
        for path in (pytester.path / f"h-{name}.json", pytester.path / "baselines" / f"{name}.json"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(spoil(sound), encoding="utf-8")
    os.mkfifo(pytester.path / "h-pipe.json")
    os.mkfifo(pytester.path / "baselines" / "pipe.json")
    said = {**{name: said for name, (_, said) in HOSTILE.items()}, "pipe": "it is a named pipe"}
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.parametrize("name", {list(said)})
        @pytest.mark.parametrize("side", ["run", "baseline"])
        def test_hostile(rnneval_gate, name, side):
            rnneval_gate(f"h-{{name}}.json" if side == "run" else "base.json", name=name)
        """
    )
    result = suite()
    result.assert_outcomes(failed=2 * len(said))
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    failed = [each for each in result.reprec.getreports("pytest_runtest_logreport") if each.failed]
    for report in failed:
        line, name = report.longreprtext, report.nodeid.rpartition("-")[2].rstrip("]")
        assert line.isprintable(), line
        assert line.startswith("rnneval: "), line
        assert said[name] in line, line


def test_a_name_that_no_terminal_takes_does_not_break_the_report(suite, pytester):
    """The checkpoint's name holds half of a surrogate pair and an escape sequence: it is shown, printable."""
    suite("--rnneval-create")
    spoilt = json.loads((pytester.path / "bad.json").read_text(encoding="utf-8"))
    spoilt["checkpoint"]["path"] = "\ud800\x1b[31m\u202e.keras"
    (pytester.path / "candidate.json").write_text(json.dumps(spoilt), encoding="utf-8")
    result = suite()
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    result.stdout.fnmatch_lines(["E       AssertionError: fail: perplexity: beyond the margin: *"])


def test_better_than_counting(suite, pytester):
    """Neither becomes a baseline nor passes if it is worse than its n-gram."""
    BETTER.save(str(pytester.path / "better.json"))
    WORSE.save(str(pytester.path / "worse.json"))
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("name", ["better", "worse"])
        def test_counting(rnneval_gate, name):
            rnneval_gate(f"{name}.json", name=name, better_than_counting=True)
        """
    )
    result = suite("--rnneval-create")
    result.stdout.fnmatch_lines(["E       AssertionError: fail: *ngram-5*"])
    assert [path.name for path in (pytester.path / "baselines").iterdir()] == ["better.json"]
    suite("-k", "not worse").assert_outcomes(passed=1, deselected=1)


def test_limits_paths_names_and_several_gates_in_a_test(suite, pytester):
    pytester.makepyfile(
        """
        def test_two(rnneval_gate):
            assert rnneval_gate("base.json", name="a / b", require=["perplexity<=1000"]).verdict == "pass"
            rnneval_gate(["base.json", "good.json"], name="recipe")

        def test_twice(rnneval_gate):
            rnneval_gate("base.json", name="same")
            rnneval_gate("base.json", name="same")

        def test_bound(rnneval_gate):
            rnneval_gate("base.json", name="limit", require=["perplexity<=1"])
        """
    )
    make = ("--rnneval-create", "-k", "test_two")
    result = suite(*make)
    result.assert_outcomes(failed=1)  # the first gate was written, not judged: there is no verdict yet
    suite(*make).assert_outcomes(passed=1)
    assert sorted(path.name for path in (pytester.path / "baselines").iterdir()) == [
        "a-b.json",
        "recipe-1.json",
        "recipe-2.json",
    ]
    suite("-k", "test_two").assert_outcomes(passed=1)
    result = suite("--rnneval-create", "-k", "test_twice or test_bound")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines_random(
        ["*two gates are called 'same' in one test*", "*not as required: perplexity<=1*"]
    )
    assert not (pytester.path / "baselines" / "limit.json").exists()


def test_two_tests_cannot_write_one_baseline(suite, pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("name", ["base", "good"])
        def test_shared(rnneval_gate, name):
            rnneval_gate(f"{name}.json", name="shared")
        """
    )
    result = suite("--rnneval-update", "-k", "shared")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*also the baseline of *test_shared?base?; give each gate its own name=*"])


def test_with_xdist(suite, pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("i", range(6))
        def test_many(rnneval_gate, i):
            rnneval_gate("candidate.json")
        """
    )
    arguments = (*PLUGIN, "-n", "2", "-k", "many")
    made = pytester.runpytest_subprocess(*arguments, "--rnneval-create")
    made.assert_outcomes(passed=6)
    made.stdout.fnmatch_lines(["*rnneval baselines written*", "baselines*test_many-0.json"])
    assert len(list((pytester.path / "baselines").glob("*.json"))) == 6
    use(pytester, "bad")
    result = pytester.runpytest_subprocess(*arguments)
    result.assert_outcomes(failed=6)
    result.stdout.fnmatch_lines(["E       AssertionError: fail: perplexity: beyond the margin: *"])


def test_importing_it_takes_less_than_20_ms_and_brings_nothing_heavy():
    script = (
        "import pytest, sys, time; before = set(sys.modules); began = time.process_time(); "
        "import rnneval.testing.plugin; took = time.process_time() - began; "
        "import json; print(json.dumps([took, sorted(set(sys.modules) - before)]))"
    )

    def once():
        found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        return json.loads(found.stdout)

    runs = [once() for _ in range(5)]
    heavy = {"numpy", "scipy", "msgspec", "rich", "tensorflow", "pandas", "click", "rnneval.gates", "rnneval.evaluate"}
    assert not heavy & set(runs[0][1])
    assert min(took for took, _ in runs) < 0.020
