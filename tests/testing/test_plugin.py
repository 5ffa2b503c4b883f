"""The pytest plugin, in test suites of its own."""

import os
import sys
from importlib.metadata import entry_points

import numpy as np
import pytest

import rnneval.gates
import rnneval.render.gate_document
from rnneval.gates.sides import slim
from rnneval.records import encode, read_run
from tests.gates.synthetic import ar_losses, make_run

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
    assert sum(line.startswith("E ") and "beyond the margin" in line for line in result.outlines) == 1


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


def test_inconclusive_fails_unless_it_may_warn(suite, pytester):
    suite("--rnneval-create")
    use(pytester, "unsure")
    result = suite()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E       AssertionError: inconclusive: *the smallest distance from the margin that this text detects*"]
    )
    test = next(pytester.path.glob("test_*.py"))
    test.write_text(test.read_text().replace('json"))', 'json"), inconclusive="warn")'))
    suite("-W", "default").assert_outcomes(passed=1, warnings=1)


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


def test_the_folder_is_an_option_or_an_ini_value(suite, pytester):
    suite("--rnneval-create", "--rnneval-baseline", "kept/here")
    assert list((pytester.path / "kept" / "here").glob("*.json"))
    pytester.makeini("[pytest]\nrnneval_baseline = elsewhere\n")
    suite("--rnneval-create")
    assert list((pytester.path / "elsewhere").glob("*.json"))
