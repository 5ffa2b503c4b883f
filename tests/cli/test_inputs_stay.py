"""No output replaces an input, and what is no regular file is refused in one line."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rnneval.cli.main import run
from rnneval.paths import checkpoint_files, require_apart
from rnneval.records import write
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
    "evaluate m.keras t.txt --vocab v.json --out v.json",
    "evaluate m.keras t.txt --out vocab.json",
    "import l.csv --text t.txt --out l.csv",
    "evaluate ckpt t.txt --builder b.py:M --out b.py",
    "evaluate ckpt t.txt --builder b.py:M --weight-map w.json --out w.json",
    "evaluate ckpt t.txt --builder b.py:M --out ckpt.index",
    "evaluate saved t.txt --builder b.py:M --out saved/variables/variables.index",
    "check b.py:M --out b.py",
    "trace m.keras t.txt --out t.txt",
    "gradients m.keras t.txt --out t.txt",
    "compare run.json base.json --out base.json",
    "gate run.json --baseline base.json --out base.json",
    "gate run.json --baseline base.json --out g.md --out g.md",
    "gate run.json --baseline run.json --update",
    "report run.json --out run.json",
    "plot run.json --text run.svg --out run.svg",
    "lint b.py --out b.py",
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
    require_apart({"--out": ["saved/new.json", "/dev/null", "/dev/null"]}, {"CHECKPOINT": checkpoint_files("saved")})
    assert run(["report", ".", "--out", "page.html"]) == run(["report", ".", "--out", "page.html"])


SPECIAL = ["fifo", "socket", "/dev/zero", "/dev/null"]
READERS = (
    "evaluate m.keras fifo --out r",
    "import fifo --text t.txt",
    "gate fifo --baseline base.json",
    "gate run.json --baseline fifo",
    "report fifo --out page.html",
    "compare run.json fifo",
    "plot fifo --out p.png",
    "lint fifo",
)
READ = (
    "rnneval.text.final_text([path])",
    "rnneval.text.Vocabulary.from_file(path)",
    "rnneval.text.Vocabulary.from_text([path], rnneval.text.TextOptions())",
    "rnneval.records.read(path)",
    "rnneval.records.read_table(path)",
    "rnneval.lint(path)",
    "__import__('importlib').import_module('rnneval.evaluate.opening').file_hashes([path])",
)


def special(name: str, folder: Path) -> str:
    if name == "fifo":
        os.mkfifo(folder / name)
    elif name == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(os.path.relpath(folder / name))
    return str(folder / name)  # an absolute name stays as it is


def test_what_is_no_regular_file_is_refused_by_every_reader(folder):
    """In a process of its own with a limit, since the fault would be to wait or to read without an end."""
    code = (
        "import resource, sys\nresource.setrlimit(resource.RLIMIT_CPU, (60, 60))\n"
        "import rnneval, rnneval.text, rnneval.records\nfrom rnneval.errors import RnnevalError\n"
        "for path in sys.argv[1:]:\n"
    ) + "".join(
        f"    try:\n        {reader}\n    except RnnevalError as error:\n        print(error)\n" for reader in READ
    )
    paths = [special(name, folder) for name in SPECIAL]
    ran = subprocess.run(
        [sys.executable, "-c", code, *paths], capture_output=True, text=True, timeout=120, check=True, cwd=folder
    )
    lines = ran.stdout.splitlines()
    assert len(lines) == len(SPECIAL) * len(READ), ran.stdout
    wanted = [path for path in paths for _ in READ]
    assert all(line.startswith(path) and "regular file" in line for line, path in zip(lines, wanted, strict=True))


def test_a_pipe_without_a_writer_is_one_line(folder):
    os.mkfifo("fifo")
    code = "import sys; from rnneval.cli.main import run; print([run(line.split()) for line in sys.argv[1:]])"
    command = [sys.executable, "-c", code, *READERS]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.stdout == f"{[2] * len(READERS)}\n", ran.stderr
    assert ran.stderr.count("\n") == len(READERS), ran.stderr
