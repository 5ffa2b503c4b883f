"""No output replaces an input, and what is no regular file is refused in one line."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rnneval.callbacks.histories import Parts
from rnneval.cli.main import run
from rnneval.errors import RecordError, UsageError
from rnneval.records import write
from rnneval.records.paths import named, named_checkpoint, open_regular, read_regular, require_apart
from rnneval.text import documents, final_text
from tests.gates.synthetic import ar_losses, make_run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Inputs of every command; none needs to be a real checkpoint, as the comparison comes first."""
    monkeypatch.chdir(tmp_path)
    write(make_run(ar_losses(4000, seed=1)), "run.json")
    write(make_run(ar_losses(4000, seed=2)), "base.json")
    for name in (
        "m.keras",
        "t.txt",
        "l.csv",
        "v.json",
        "b.py",
        "w.json",
        "vocab.json",
        "ckpt.index",
        "ckpt.data-00000-of-00001",
    ):
        Path(name).write_text(f"the content of {name}\n")
    Path("saved/variables").mkdir(parents=True)
    Path("saved/saved_model.pb").write_text("a graph")
    Path("saved/variables/variables.index").write_text("an index")
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


SAME = [
    "evaluate m.keras t.txt --out m.keras",
    "evaluate m.keras t.txt --losses t.txt",
    "evaluate m.keras t.txt --out r.json --losses r.json",
    "evaluate m.keras t.txt --out r.json --losses ./r.json",
    "evaluate m.keras t.txt --vocab v.json --out v.json",
    "evaluate m.keras t.txt --vocab-from t.txt --out t.txt",
    "evaluate m.keras t.txt --fit-on v.json --out v.json",
    "evaluate m.keras t.txt --out vocab.json",
    "import l.csv --text t.txt --out l.csv",
    "import l.csv --text t.txt --out ./t.txt",
    "import l.csv --text t.txt --vocab v.json --out v.json",
    "evaluate ckpt t.txt --builder b.py:M --out b.py",
    "evaluate ckpt t.txt --builder b.py:M --weight-map w.json --out w.json",
    "evaluate ckpt t.txt --builder b.py:M --out ckpt.index",
    "evaluate ckpt.index t.txt --builder b.py:M --out ckpt.data-00000-of-00001",
    "evaluate ckpt t.txt --builder b.py:M --out ckpt",
    "evaluate saved t.txt --builder b.py:M --out saved/variables/variables.index",
    "open m.keras --out m.keras",
    "check m.keras --out m.keras",
    "check b.py:M --out b.py",
    "trace m.keras t.txt --out t.txt",
    "trace m.keras t.txt --record m.keras",
    "trace m.keras t.txt --record r --out r",
    "gradients m.keras t.txt --out t.txt",
    "compare run.json base.json --out base.json",
    "compare run.json base.json --text t.txt --out t.txt",
    "gate run.json --baseline base.json --out base.json",
    "gate run.json --baseline base.json --out run.json",
    "gate run.json --baseline base.json --out g.md --out g.md",
    "gate run.json --baseline base.json --update --out base.json",
    "gate run.json --baseline run.json --update",
    "gate run.json base.json --baseline n.json n.json --update",
    "report run.json --out run.json",
    "report . --out run.json",
    "plot run.json --text run.svg --out run.svg",
    "lint b.py --out b.py",
    "lint . --out b.py",
]


@pytest.mark.parametrize("line", SAME)
@pytest.mark.parametrize("way", ["itself", "hard"])
def test_an_output_that_is_an_input_is_refused_before_anything_runs(line, way, folder, capsys):
    Path("run.svg").write_bytes(Path("t.txt").read_bytes())
    words = line.split()
    if way != "itself":
        target = Path(words[-1])
        if not target.is_file():
            pytest.skip("the two outputs do not exist yet")
        link = target.with_name(f"other{target.suffix}" if target.suffix in {".svg", ".py"} else "other")
        if words[-2] in {"--update", "--text"}:
            pytest.skip("nothing to link")
        link.hardlink_to(target)
        words[-1] = str(link)
    before = contents(folder)
    assert run(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "is the same file as" in said
    assert "give another path" in said
    assert contents(folder) == before


def test_new_files_beside_inputs_and_devices_are_allowed(folder):
    require_apart(named("--out", "saved/new.json", "/dev/null", "/dev/null"), named_checkpoint("CHECKPOINT", "saved"))
    assert run(["report", ".", "--out", "page.html"]) == run(["report", ".", "--out", "page.html"])


def test_a_history_does_not_replace_what_is_read_or_another_history(tmp_path):
    part = tmp_path / "h" / "part-000000.parquet"
    part.parent.mkdir()
    part.write_text("the held-out text")
    with pytest.raises(UsageError, match="is the same file as text"):
        Parts(part.parent, "step", {}, "replace", named("text", part))
    assert part.read_text() == "the held-out text"
    one, two = (Parts(tmp_path / "both", "step", {"rnneval.schema": "x"}) for _ in range(2))
    index, columns, values = np.arange(1), [("a", "b", "c")], np.ones((1, 1))
    one.write(index, columns, values)
    with pytest.raises(RecordError, match="is of another history"):
        two.write(index, columns, values)


SPECIAL = ["fifo", "socket", "/dev/zero", "/dev/null"]
READERS = {
    "text": "evaluate m.keras {} --out r",
    "losses": "import {} --text t.txt",
    "record": "gate {} --baseline base.json",
    "baseline": "gate run.json --baseline {}",
    "report": "report {} --out page.html",
    "compare": "compare run.json {}",
    "plot": "plot {} --out p.png",
    "source": "lint {}",
}
READ = {
    "text": "rnneval.text.final_text([path])",
    "vocabulary": "rnneval.text.Vocabulary.from_file(path)",
    "vocabulary from a text": "rnneval.text.Vocabulary.from_text([path], rnneval.text.TextOptions())",
    "record": "rnneval.records.read(path)",
    "table": "rnneval.records.read_table(path)",
    "source": "rnneval.lint(path)",
    "hash": "__import__('importlib').import_module('rnneval.evaluate.reopening').file_hashes([path])",
}


def special(name: str, folder: Path) -> str:
    if name == "fifo":
        os.mkfifo(folder / name)
    elif name == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(os.path.relpath(folder / name))
    return str(folder / name)  # an absolute name stays as it is


@pytest.mark.parametrize("kind", READ)
def test_what_is_no_regular_file_is_refused_by_every_reader(kind, folder):
    """In a process of its own with a limit, since the fault would be to wait or to read without an end."""
    code = (
        "import resource, sys\nresource.setrlimit(resource.RLIMIT_CPU, (20, 20))\n"
        "import rnneval, rnneval.text, rnneval.records\nfrom rnneval.errors import RnnevalError\n"
        f"for path in sys.argv[1:]:\n    try:\n        {READ[kind]}\n"
        "    except RnnevalError as error:\n        print(error)\n"
    )
    paths = [special(name, folder) for name in SPECIAL]
    ran = subprocess.run(
        [sys.executable, "-c", code, *paths], capture_output=True, text=True, timeout=60, check=True, cwd=folder
    )
    lines = ran.stdout.splitlines()
    assert len(lines) == len(SPECIAL), ran.stdout
    assert all(line.startswith(path) and "regular file" in line for line, path in zip(lines, paths, strict=True))


@pytest.mark.parametrize("line", READERS.values(), ids=READERS)
def test_a_pipe_without_a_writer_is_one_line(line, folder):
    os.mkfifo("fifo")
    command = [sys.executable, "-m", "rnneval", *line.format("fifo").split()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1), ran.stderr


def test_a_text_from_the_shell_is_read_and_one_without_an_end_is_not(tmp_path, monkeypatch):
    read, written = os.pipe()
    os.write(written, b"a short text")
    os.close(written)
    assert "".join(final_text([f"/dev/fd/{read}"]).documents) == "a short text"
    os.close(read)
    monkeypatch.setattr(documents, "MOST_STREAMED_BYTES", 1 << 20)
    with subprocess.Popen(["/usr/bin/yes"], stdout=subprocess.PIPE) as endless:
        from rnneval.errors import TextError

        with pytest.raises(TextError, match="more than 1,048,576 bytes from a pipe"):
            final_text([f"/dev/fd/{endless.stdout.fileno()}"])
        endless.kill()


def test_a_large_sparse_file_is_refused_by_its_size(tmp_path):
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(5 << 30)
    with pytest.raises(OSError, match="it has 5,368,709,120 bytes, at most 10 are read"):
        read_regular(tmp_path / "sparse", 10)


def test_a_file_exchanged_for_a_pipe_while_it_is_opened(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("a")
    os.mkfifo(tmp_path / "pipe")
    real = os.open
    monkeypatch.setattr(os, "open", lambda _, flags: real(tmp_path / "pipe", flags))
    with pytest.raises(OSError, match="named pipe"):
        open_regular(tmp_path / "a")
