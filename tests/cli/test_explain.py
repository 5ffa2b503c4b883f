"""`rnneval explain`, from outside as a person calls it and from inside on folders made for the test."""

import json
import os
import subprocess
import sys
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


@pytest.fixture
def nothing(tmp_path, monkeypatch):
    (tmp_path / "pages").mkdir()
    yield from _within(tmp_path, monkeypatch)


def test_the_text_of_a_metric_is_its_page(capsys):
    assert run(["explain", "perplexity"]) == 0
    assert capsys.readouterr().out == files("rnneval.pages").joinpath("perplexity.md").read_text(encoding="utf-8")


def test_a_name_of_a_metric_and_a_figure_has_one_page(capsys):
    assert run(["explain", "state_norms"]) == 0
    out = capsys.readouterr().out
    assert out.count("# state_norms (") == 1
    assert {"## How to read it", "## How to read the figure"} <= set(out.splitlines())


def test_all_metrics_and_baselines_are_listed(capsys):
    assert run(["explain"]) == 0
    listed = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()]
    assert {*names(), "uniform", "unigram"} <= set(listed)


def test_everything_in_the_package_has_a_first_line_and_a_name_of_its_own_kind():
    known = entries()
    assert all(entry.summary.endswith((".", ":")) for entry in known)
    assert len({(entry.kind, entry.name) for entry in known}) == len(known)


def test_a_list_line_is_name_code_and_first_line(package):
    assert listing(entries()).splitlines() == [
        "loss                 Loss of a token.",
        "noisy-state          State of one layer given to another.",
        "shared-state RNN001  State of one layer given to another.",
        "zip-name             Name that is too long.",
        "stale-state RNN007   State of one layer given to another.",
    ]


def test_a_loading_rule_is_a_page(package):
    (entry,) = find("zip_name", entries())
    assert (entry.kind, entry.code) == ("loading rule", "")
    assert entry.text == "Name that is too long.\n\n## Why\n\nIt is cut."


def test_pages_need_no_docstrings():
    command = [sys.executable, "-OO", "-m", "rnneval", "explain", "zip-bomb"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("# zip-bomb (loading rule)\n\nThe zip would unpack into far more than it holds.")


def test_a_rule_is_found_by_name_in_any_spelling_and_by_code(package):
    known = entries()
    for name in ("stale-state", "stale_state", "Stale-State", "RNN007", "rnn007"):
        assert [entry.code for entry in find(name, known)] == ["RNN007"]


def test_a_rule_that_runs_and_reads_has_one_page(package):
    for name in ("shared-state", "RNN001"):
        text = pages(find(name, entries()))
        assert text.count("# shared-state (rule RNN001)\n\nState of one layer given to another.") == 1
        assert text.count("State of one layer given to another.") == 1
    assert "# noisy-state (rule)" in pages(find("noisy-state", entries()))
    assert "# stale-state (lint rule RNN007)" in pages(find("stale-state", entries()))


def test_folders_that_are_empty_or_missing_are_no_error(nothing, tmp_path):
    assert entries() == ()
    (tmp_path / "files" / "rules").mkdir(parents=True)
    assert entries() == ()
    assert listing(()) == ""


def test_an_unknown_name_is_refused_with_close_ones(package):
    with pytest.raises(UsageError, match=r"'shard-state': close are shared-state, .*`rnneval explain` lists all names"):
        find("shard-state", entries())
    with pytest.raises(UsageError, match="'zzz': `rnneval explain` lists all names"):
        find("zzz", entries())


def test_an_empty_name_is_not_the_rule_without_a_code(package):
    with pytest.raises(UsageError, match="no metric"):
        find("", entries())


def test_json_of_one_and_of_all(capsys):
    assert run(["explain", "unigram", "--format", "json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert set(one) == {"name", "kind", "code", "summary", "text"}
    assert (one["name"], one["kind"], one["code"]) == ("unigram", "baseline", "")
    assert one["text"].startswith(one["summary"] + "\n")
    assert run(["explain", "--format", "json"]) == 0
    assert one in json.loads(capsys.readouterr().out)


def test_out_also_writes_what_is_printed(tmp_path, capsys):
    assert run(["explain", "perplexity", "--out", str(tmp_path / "text.md")]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("# perplexity (metric)\n")
    assert (tmp_path / "text.md").read_text(encoding="utf-8") == printed


def test_quiet_prints_nothing(tmp_path, capsys):
    assert run(["explain", "perplexity", "-q", "--seed", "3", "--format", "json", "--out", str(tmp_path / "x")]) == 0
    assert capsys.readouterr().out == ""
    assert json.loads((tmp_path / "x").read_text(encoding="utf-8"))[0]["name"] == "perplexity"


def called(*arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        check=False,
    )


def test_an_unknown_name_is_one_line_and_two():
    done = called("-m", "rnneval", "explain", "perplexty")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "close are perplexity" in done.stderr


def test_it_imports_nothing_heavy():
    done = called("-X", "importtime", "-m", "rnneval", "explain", "perplexity")
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert done.returncode == 0
    assert "click" in imported
    assert not imported & {"tensorflow", "keras", "numpy", "pandas", "scipy", "pyarrow", "msgspec", "rich"}


def test_a_terminal_gets_rendered_markdown(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "90")
    assert run(["explain", "perplexity"]) == 0
    text = capsys.readouterr().out
    assert "perplexity (metric)" in text
    assert "# perplexity" not in text
    assert "**" not in text
