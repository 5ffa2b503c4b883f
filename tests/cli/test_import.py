"""`rnneval import`: closed forms, and hostile tables in one line."""

import pickle
from math import log
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rnneval import records
from rnneval.cli.main import run
from rnneval.errors import RecordError, VocabularyError
from rnneval.evaluate.imported import from_losses

TEXT = "a small text of a few words\n" * 2000
V = 65


def frame(text=TEXT, nats=None, first=1):
    """A table of one row a character, but for the first."""
    place = np.arange(first, len(text))
    column = np.full(len(place), log(V)) if nats is None else nats
    return pd.DataFrame({"token": place, "byte_start": place, "byte_end": place + 1, "nats": column})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.txt").write_text(TEXT)
    frame().to_parquet("sound.parquet")
    return tmp_path


def imported(table="sound.parquet", *more, out="run.json"):
    assert run(["import", str(table), "--text", "t.txt", "--state", "carry", "--out", out, "--quiet", *more]) == 0
    return records.read_run(out)


def test_annotations_of_github(folder, capsys, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary.md"))
    imported("sound.parquet", "--vocab-size", str(V), "--format", "github")
    printed = capsys.readouterr()
    assert printed.out.startswith(
        "::notice title=rnneval evaluate::sound.parquet on t.txt\n::warning title=rnneval%3A "
    )
    assert printed.err == ""
    assert "| perplexity | 65 |" in (folder / "summary.md").read_text()
    (folder / "summary.md").unlink()
    (folder / "summary.md").mkdir()
    assert run(["import", "sound.parquet", "--text", "t.txt", "--state", "carry", "--format", "github"]) == 2


@pytest.mark.usefixtures("folder")
class Test_closed_forms:  # noqa: N801 - reads as a sentence
    def test_losses_of_ln_v_have_the_perplexity_v(self):
        found = imported("sound.parquet", "--vocab-size", str(V))
        n = len(TEXT) - 1
        assert found.total_nats == pytest.approx(n * log(V), rel=1e-12)
        assert found.scores["perplexity"].value == pytest.approx(V, rel=1e-12)
        assert found.scores["bits_per_char"].value == pytest.approx(np.log2(V), rel=1e-12)
        assert found.scores["word_perplexity"].value == pytest.approx(
            np.exp(n * log(V) / 13_999), rel=1e-9
        )  # the first `a` is unscored
        assert found.baselines == {"uniform": log(V)}
        assert set(found.scores) & {"accuracy", "accuracy_top5", "calibration_error"} == set()
        (constant,) = [warning for warning in found.warnings if warning.code == "constant-losses"]
        assert constant.message.startswith(f"the loss of each of the {n:,} tokens is {log(V):.6g} nats: a mean, or")
        assert found.tokens == records.run.TokenCounts(total=n + 1, scored=n, unscored=1, unknown=0)
        assert (found.checkpoint, found.wiring, found.timing, found.streams) == (None, None, None, None)
        assert found.interval is not None

    def test_a_first_token_that_is_scored_is_counted_and_in_the_signature(self):
        found = from_losses(frame(first=0), "t.txt", state="reset-50")
        assert (found.tokens.unscored, found.text.scored_characters) == (0, len(TEXT))
        assert "|bos:scored|state:reset-50|" in found.signature

    def test_document_and_id_are_compared_if_they_are_there(self):
        letters = sorted(set(TEXT))
        table = frame().assign(document=0, id=[letters.index(letter) for letter in TEXT[1:]])
        assert from_losses(table, "t.txt", state="carry", vocabulary=letters).vocabulary.size == len(letters)
        with pytest.raises(RecordError, match=r"row 0 .* is in document 1, in the text it is in document 0"):
            from_losses(table.assign(document=1), "t.txt", state="carry")
        table.loc[7, "id"] += 1
        with pytest.raises(RecordError, match=r"row 7: the vocabulary \(given\) makes token 8 \(bytes 8 to 9, id \d"):
            from_losses(table, "t.txt", state="carry", vocabulary=letters)
        with pytest.raises(VocabularyError, match=r"too small"):
            from_losses(table, "t.txt", state="carry", vocabulary=letters, vocabulary_size=V)


@pytest.mark.usefixtures("folder")
class Test_a_part:  # noqa: N801 - reads as a sentence
    """`--part 90:` counts characters, and is often meant as per cent."""

    def imported(self, part, first):
        size = len(TEXT) - first
        table = frame(TEXT[first:], nats=np.random.default_rng(0).random(size - 1))
        table.to_parquet("part.parquet")
        return imported("part.parquet", "--part", part)

    def test_the_share_of_the_text_is_shown(self, capsys):
        found = self.imported("90:", 90)
        assert found.text.share == pytest.approx(1 - 90 / len(TEXT), rel=1e-12)
        assert not found.warnings[0].code.startswith("too-little")
        assert run(["report", "run.json", "--out", "r.html"]) == 0
        assert "part 90: is 99.84 % of the characters of the files" in Path("r.html").read_text()
        assert imported().text.share is None


@pytest.mark.usefixtures("folder")
class Test_the_state:  # noqa: N801 - reads as a sentence
    def test_that_is_not_given_compares_with_nothing(self, capsys):
        imported(out="base.json")
        assert run(["import", "sound.parquet", "--text", "t.txt", "--out", "run.json", "--quiet"]) == 0
        assert records.read_run("run.json").warnings[-1].code == "state-unknown"
        for other in ("base.json", "run.json"):
            assert run(["gate", "run.json", "--baseline", other]) == 3
            assert "signature.state" in capsys.readouterr().out

    @pytest.mark.parametrize("given", ["reset-0", "carry|tok:byte"])
    def test_is_carry_or_reset_n(self, refused, given):
        said = refused("import", "sound.parquet", "--text", "t.txt", "--state", given)
        assert said.startswith(f"--state {given!r} is not known: give carry, or reset-N")


N = 5
SOUND = {"token": np.arange(N), "byte_start": np.arange(N), "byte_end": np.arange(N) + 1, "nats": np.ones(N)}


class Bomb:
    def __reduce__(self):
        return (open, ("fired", "w"))


def parquet(**columns):
    return pa.table({**SOUND, **columns})


HOSTILE = {
    "nulls": (parquet(nats=[1.0, None, 1.0, None, 1.0]), "row 1: column 'nats' has no value, the first of 2"),
    "NaN": (parquet(nats=[1, 1, float("nan"), 1, 1.0]), "row 2: the loss of token 2 (byte 2) is nan, the first of 1"),
    "no column": (parquet().drop_columns(["nats"]), "has no column nats: a table of losses has token, byte_start"),
    "metadata of pickles": (
        parquet(nats=[-1.0] * N).replace_schema_metadata({"pandas": pickle.dumps(Bomb())}),
        "row 0: the loss of token 0",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_parquet_table_is_one_line(folder, refused, name):
    table, said = HOSTILE[name]
    pq.write_table(table, "h.parquet")
    assert refused("import", "h.parquet", "--text", "t.txt", "--out", "r.json").startswith(f"h.parquet: {said}")
    assert not (folder / "r.json").exists()
    assert not (folder / "fired").exists()


HEAD = "token,byte_start,byte_end,nats\n"
FILES = {
    "h.csv": [
        ("a\n1\n", "has no column token, byte_start, byte_end, nats"),
        (HEAD + "0,0,1,x\n", "cannot be read as a table: In CSV column"),
    ],
    "h.parquet": [("PAR1" * 9, "a damaged or truncated Parquet file"), ("", "a damaged or truncated Parquet file")],
    "h.pkl": [("x", "its ending names no kind of table: give a file that ends in .parquet or .csv")],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "said"), [(name, *case) for name, cases in FILES.items() for case in cases]
)
def test_a_hostile_file_is_one_line(folder, refused, name, content, said):
    (folder / name).write_text(content)
    assert refused("import", name, "--text", "t.txt").startswith(f"{name}: {said}")


def test_a_table_that_is_too_large_is_refused_by_its_size(folder, refused, monkeypatch):
    monkeypatch.setattr("rnneval.records.tables.MOST_BYTES", 1000)
    monkeypatch.setattr("rnneval.records.losses.MOST_BYTES", 1000)
    assert "rows of 32 bytes, at most 1,000 bytes in memory" in refused("import", "sound.parquet", "--text", "t.txt")
    frame().to_csv("large.csv", index=False)
    assert "at most 1,000 are read" in refused("import", "large.csv", "--text", "t.txt")
    (folder / "rows.csv").write_text("\n" * 21)  # a byte would become 48
    assert refused("import", "rows.csv", "--text", "t.txt").startswith("rows.csv: up to 21 rows, at most 20 are read")
