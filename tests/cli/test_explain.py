"""`rnneval explain` as a person calls it."""

from importlib.resources import files

from rnneval.cli.commands.explain import entries
from rnneval.cli.main import run
from rnneval.metrics import names


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


def test_an_unknown_name_is_refused_with_close_ones(refused):
    assert "close are shared-state" in refused("explain", "shard-state")
    assert "'zzz': `rnneval explain` lists all names" in refused("explain", "zzz")


def test_out_also_writes_what_is_printed(tmp_path, capsys):
    assert run(["explain", "perplexity", "--out", str(tmp_path / "text.md")]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("# perplexity (metric)\n")
    assert (tmp_path / "text.md").read_text(encoding="utf-8") == printed
