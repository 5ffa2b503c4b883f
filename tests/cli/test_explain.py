"""`rnneval explain`, from outside as a person calls it and from inside on folders made for the test."""

from importlib.resources import files

import pytest

import rnneval.pages
from rnneval.cli.commands.explain import entries, find, listing, pages
from rnneval.cli.main import run
from rnneval.errors import UsageError
from rnneval.metrics import names
from rnneval.pages import all_pages

PAGE = "State of one layer given to another.\n\n## What to write instead\n\nGive it back.\n"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with one metric, and rules of `check`, of `lint` or of both."""
    for file, text in {
        "pages/loss.md": "# loss (metric)\n\nLoss of a token.",
        "pages/__init__.py": '"""Not a page."""',
        "pages/zip-name.md": "# zip-name (loading rule)\n\nName that is too long.\n\n## Why\n\nIt is cut.\n",
        "pages/noisy-state.md": f"# noisy-state (rule)\n\n{PAGE}",
        "pages/shared-state.md": f"# shared-state (rule RNN001)\n\n{PAGE}",
        "pages/stale-state.md": f"# stale-state (lint rule RNN007)\n\n{PAGE}",
    }.items():
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    yield from _within(tmp_path, monkeypatch)


def _within(folder, monkeypatch):
    monkeypatch.setattr(rnneval.pages, "files", lambda _: folder / "pages")
    all_pages.cache_clear()
    yield
    all_pages.cache_clear()


def test_the_text_of_a_metric_is_its_page(capsys):
    assert run(["explain", "perplexity"]) == 0
    assert capsys.readouterr().out == files("rnneval.pages").joinpath("perplexity.md").read_text(encoding="utf-8")


def test_all_metrics_and_baselines_are_listed(capsys):
    assert run(["explain"]) == 0
    listed = [line.split("  ")[1] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert {*names(), "uniform", "unigram", "drift", "invalid-source RNN000"} <= set(listed)


def test_everything_in_the_package_has_a_first_line_and_a_name_of_its_own_kind():
    known = entries()
    assert all(entry.summary.endswith((".", ":")) for entry in known)
    assert len({(entry.kind, entry.name) for entry in known}) == len(known)


def test_a_list_has_headings_and_lines_of_name_code_and_first_line(package):
    assert listing(entries()).splitlines() == [
        "Metrics",
        "  loss                 Loss of a token.",
        "",
        "Rules of check, and findings of diagnostics",
        "  noisy-state          State of one layer given to another.",
        "  shared-state RNN001  State of one layer given to another.",
        "",
        "Rules of lint alone",
        "  stale-state RNN007   State of one layer given to another.",
        "",
        "Rules of loading",
        "  zip-name             Name that is too long.",
    ]


def test_a_rule_that_runs_and_reads_has_one_page(package):
    for name in ("shared-state", "RNN001"):
        text = pages(find(name, entries()))
        assert text.count("# shared-state (rule RNN001)\n\nState of one layer given to another.") == 1
        assert text.count("State of one layer given to another.") == 1
    assert "# noisy-state (rule)" in pages(find("noisy-state", entries()))
    assert "# stale-state (lint rule RNN007)" in pages(find("stale-state", entries()))


def test_an_unknown_name_is_refused_with_close_ones(package):
    with pytest.raises(UsageError, match=r"'shard-state': close are shared-state, .*`rnneval explain` lists all names"):
        find("shard-state", entries())
    with pytest.raises(UsageError, match="'zzz': `rnneval explain` lists all names"):
        find("zzz", entries())


def test_out_also_writes_what_is_printed(tmp_path, capsys):
    assert run(["explain", "perplexity", "--out", str(tmp_path / "text.md")]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("# perplexity (metric)\n")
    assert (tmp_path / "text.md").read_text(encoding="utf-8") == printed
