"""Two tables of losses of the same text."""

import json

import numpy as np
import pandas as pd
import pytest

import rnneval
from rnneval.cli.main import run as command
from rnneval.errors import RecordError, UsageError

TEXT = "größer als alles andere, und nicht so klein\n" * 30
SPANS = np.cumsum([0, *(len(c.encode()) for c in TEXT)])
N = len(TEXT) - 1


def table(nats=None, **columns):
    place = np.arange(1, N + 1)
    nats = np.full(N, 1.5) if nats is None else nats
    return {"token": place, "byte_start": SPANS[1:-1], "byte_end": SPANS[2:], "nats": nats, **columns}


def test_largest_first_and_quantiles_by_hand():
    moved = np.full(N, 1.5)
    moved[[200, 300, 400]] += [2e-4, -0.5, 0.25]
    moved[100] += 9e-5  # within
    found = rnneval.compare_losses(table(), table(moved, id=np.arange(N)), text=TEXT)
    assert (found.tokens, found.beyond, found.within) == (N, 3, 1e-4)
    assert (found.first.token, found.first.byte_start) == (201, SPANS[201])
    assert found.first.id == 200
    assert found.first.text == f"{TEXT[:201].encode()[-40:].decode(errors='ignore')}«{TEXT[201]}»{TEXT[202:212]}"
    assert (found.largest.token, found.largest.baseline, found.largest.candidate) == (301, 1.5, 1.0)
    assert found.largest.difference == pytest.approx(-0.5)
    assert found.mean == pytest.approx((2e-4 - 0.5 + 0.25 + 9e-5) / N)
    gaps = sorted([0.0] * (N - 4) + [9e-5, 2e-4, 0.25, 0.5])
    assert found.quantiles["0.5"] == 0
    at = 0.999 * (N - 1)
    expected = gaps[int(at)] + (at - int(at)) * (gaps[int(at) + 1] - gaps[int(at)])
    assert found.quantiles["0.999"] == pytest.approx(expected, rel=1e-9)
    assert list(found.quantiles) == ["0.5", "0.9", "0.99", "0.999"]
    assert rnneval.compare_losses(table(), table(moved), within=0.3).first.token == 301
    assert rnneval.compare_losses(table(), table(moved), within=0.5).first is None  # exactly that is within


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"byte_end": lambda t: np.where(t["token"] == 7, t["byte_end"] + 1, t["byte_end"])}, "number 7: byte_end is"),
        ({"token": lambda t: t["token"] + 1}, "scored token number 1: token is 2, in the table of losses 1"),
        ({"token": lambda t: np.maximum(t["token"], 2)}, "has token 2 twice"),
        ({name: lambda t, name=name: t[name][:-1] for name in table()}, "rows, the table of losses"),
        ({name: lambda t, name=name: t[name][:0] for name in table()}, "has no row"),
        ({"nats": lambda t: t["nats"] * np.nan}, "finite"),
    ],
)
def test_tables_of_other_tokens_are_refused(change, said):
    other = table()
    other = {**other, **{name: new(other) for name, new in change.items()}}
    with pytest.raises(RecordError, match=said):
        rnneval.compare_losses(table(), other)


def test_other_ids_and_other_text_are_refused():
    ids = np.arange(N)
    with pytest.raises(RecordError, match="number 4: id is 9, in the table of losses 3"):
        rnneval.compare_losses(table(id=ids), table(id=np.where(ids == 3, 9, ids)))
    with pytest.raises(UsageError, match="is not the one that was scored"):
        rnneval.compare_losses(table(), table(), text=TEXT[:-1])
    for within in (-1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match=r"--within .* is not allowed"):
            rnneval.compare_losses(table(), table(), within=within)


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    moved = np.full(N, 1.5)
    moved[41] = 1.75
    pd.DataFrame(table()).to_parquet("a.parquet")
    pd.DataFrame(table(moved)).to_csv("b.csv", index=False)
    (tmp_path / "t.txt").write_text(TEXT)
    assert command(["compare", "a.parquet", "b.csv", "--text", "t.txt", "--out", "c.json", "--out", "c.csv"]) == 0
    out = capsys.readouterr().out
    assert "first beyond 0.0001" in out
    assert "+0.25" in out
    assert "klei«n»" in out
    plain = json.loads((tmp_path / "c.json").read_text(), parse_constant=pytest.fail)
    assert (plain["schema"], plain["first"]["token"], plain["beyond"]) == ("rnneval.compare-losses/1", 42, 1)
    assert pd.read_csv("c.csv")["largest"].tolist() == [42]
    assert command(["compare", "a.parquet", "b.csv", "--within", "0.3"]) == 0
    assert "0 of them differ by more than 0.3 nats" in capsys.readouterr().out
    for arguments, said in (
        (["a.parquet"], "1 of the 1 files given are tables"),
        (["a.parquet", "b.csv", "a.parquet"], "3 of the 3 files given are tables"),
        (["a.parquet", "run.json"], "1 of the 2 files given are tables"),
        (["a.parquet", "b.csv", "--metric", "accuracy"], "--metric is for run records"),
        (["a.parquet", "b.csv", "--within", "-1"], "--within -1.0 is not allowed"),
        (["a.json", "b.json", "--within", "1"], "--within is for two tables"),
        (["a.parquet", "b.csv", "--out", "a.parquet"], "a.parquet"),
    ):
        assert command(["compare", *arguments]) == 2
        _, err = capsys.readouterr()
        assert said in err
        assert err.count("\n") == 1
