"""`rnneval plot` as a person runs it."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rnneval.cli.main import run
from tests.gates.synthetic import sha
from tests.render.figures import made

TEXT = "To be, or not to be, that is the question.\n" * 40


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made.run(np.full(130, 1.2), checkpoint="a.keras").save("a.json")
    made.run(np.full(130, 1.3), checkpoint="b.keras").save("b.json")
    made.wiring({"gru": "gru_2", "gru_2": "gru"}).save("wiring.json")
    made.gate(made.comparison()).save("gate.json")
    stored(made.losses(TEXT, np.linspace(0, 9, len(TEXT) - 1)), "losses.parquet")
    stored(made.trace({"gru.h": [1.0, 2.0]}), "trace.parquet")
    (tmp_path / "history").mkdir()
    stored(made.history({"gru": [1.0, 2.0]}), "history/part-000000.parquet")
    (tmp_path / "text.txt").write_text("before" + TEXT)
    return tmp_path


def stored(table, path):
    metadata = {"rnneval.schema": table.schema, "rnneval.text": sha(TEXT)}
    found = pa.Table.from_pandas(table.frame, preserve_index=False).replace_schema_metadata(metadata)
    pq.write_table(found, path)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ("a.json", "1.20 nats a token; hardest near"),
        ("wiring.json", "gru gets gru_2's state; gru_2 gets gru's state"),
        ("gate.json", "Perplexity changed by +2.02 %"),
        ("trace.parquet", "Norms of 1 state"),
        ("history", "Gradient norms stayed even"),
    ],
)
def test_the_default_figure_of_each_kind(files, capsys, record, said):
    assert run(["plot", record, "--out", "f.svg"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"f.svg: {said}")
    assert err == ""
    assert said.replace("'", "&#x27;") in (files / "f.svg").read_text() or said in (files / "f.svg").read_text()


@pytest.mark.parametrize(("ending", "magic"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_the_ending_gives_the_format(files, ending, magic):
    assert run(["plot", "a.json", "--size", "slide", "--out", f"f.{ending}", "-q"]) == 0
    assert (files / f"f.{ending}").read_bytes().startswith(magic)


def test_a_passage_finds_the_reading_of_the_text_by_its_hash(files, capsys):
    assert run(["plot", "losses.parquet", "--text", "text.txt", "--part", "6:"]) == 0
    assert "The most surprising excerpt has 7." in capsys.readouterr().out
    (files / "text.txt").write_text(TEXT.replace("\n", "\r\n"), newline="")
    assert run(["plot", "losses.parquet", "--text", "text.txt"]) == 0
    assert "The most surprising excerpt has" in capsys.readouterr().out


def test_a_passage_is_printed(files, capsys, refused):
    given = ["losses.parquet", "--text", "text.txt", "--part", "6:"]
    assert run(["plot", *given]) == 0
    title, *lines = capsys.readouterr().out.splitlines()
    assert title.startswith("The most surprising excerpt has 7.")
    assert "To be, or not to be, that is the question.↵" in lines
    assert any(line.startswith("surprise in bits:") for line in lines)
    assert refused("plot", *given, "--out", "f.png").startswith("f.png: the figure passage is text: leave --out out")
    assert refused("plot", "losses.parquet", "a.json").startswith("losses.parquet: losses have positions and no text")
    assert refused("plot", *given, "a.json").startswith("--out is needed")
    assert not list(files.glob("f*.png"))


def test_several_records_go_to_a_folder(files, capsys):
    assert run(["plot", "a.json", "b.json", "wiring.json", "--out", "pictures"]) == 0
    assert sorted(path.name for path in (files / "pictures").iterdir()) == [
        "a-loss_over_text.png", "b-loss_over_text.png", "wiring-flow_matrix.png",
    ]  # fmt: skip
    assert capsys.readouterr().out.count("\n") == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.json"], "--out is needed: FILE.png, .svg or .pdf"),
        (["a.json", "--out", "f.jpg"], "f.jpg: ends in .jpg: a figure is written to .png, .svg or .pdf"),
        (["a.json", "--figure", "state_norms", "--out", "f.png"], "rnneval.run/1: no figure state_norms in it; it is"),
        (["a.json", "b.json", "--out", "f.png"], "f.png: one file for 2 records: give a folder"),
        (["losses.parquet", "--text", "text.txt", "--out", "f.png"], "text.txt: not the text that was scored"),
    ],
)  # fmt: skip
def test_wrong_use_is_one_line(files, refused, arguments, said):
    assert refused("plot", *arguments).startswith(said)
    assert not list(files.glob("f*"))


def test_figures_are_listed(files, capsys):
    assert run(["plot", "trace.parquet", "losses.parquet", "--list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "trace.parquet:",
        "state_norms  Norms of 1 state along the text",
        "losses.parquet:",
        "passage: give the text (--text)",
    ]
