"""Every command that writes a file: a full disk, a folder that is read only, a symbolic link."""

import subprocess
import sys
from pathlib import Path

import pytest

from rnneval.demo.files import prepare
from rnneval.errors import UsageError
from rnneval.records import write
from tests.gates.synthetic import ar_losses, make_run

WRITERS = {
    "gate, JSON": "gate run.json --baseline run2.json --out {}/out.json",
    "gate, JUnit": "gate run.json --baseline run2.json --out {}/out.xml",
    "gate, Markdown": "gate run.json --baseline run2.json --out {}/out.md",
    "compare": "compare run.json run2.json --out {}/out.json",
    "report": "report run.json --out {}/out.html",
    "PNG": "plot run.json --out {}/out.png",
    "SVG": "plot run.json --out {}/out.svg",
    "PDF": "plot run.json --out {}/out.pdf",
    "lint": "lint source.py --format sarif --out {}/out.sarif",
    "explain": "explain perplexity --out {}/out.md",
}
FULL = """
import resource, signal, sys
sys.dont_write_bytecode = True  # Python would leave the first 64 bytes of a .pyc file for the next process
from rnneval.cli.main import run
import matplotlib.font_manager
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
code = run(sys.argv[1:])
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))  # what measures coverage writes at the end
sys.exit(code)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("run.json", "run2.json")):
        write(make_run(ar_losses(4000, seed=number)), name)
    Path("source.py").write_text("x = 1\n")
    Path("there").mkdir()
    return tmp_path


def command(line: str, *start: str) -> subprocess.CompletedProcess[str]:
    started = [sys.executable, *(start or ("-m", "rnneval")), *line.format("there").split()]
    return subprocess.run(started, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("line", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_leaves_the_old_file_and_is_one_line(line, folder):
    """A limit on the size of files stands for the disk: what is written fails after 64 bytes."""
    out = Path("there") / Path(line).name
    out.write_text("old")
    ran = command(line, "-c", FULL)
    assert (ran.returncode, ran.stderr.strip().count("\n")) == (2, 0), ran.stderr
    assert "cannot be written: File too large; what was there is unchanged" in ran.stderr
    assert [(path.name, path.read_text()) for path in Path("there").iterdir()] == [(out.name, "old")]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("line", WRITERS.values(), ids=WRITERS)
def test_a_link_stays_a_link_and_what_it_leads_to_is_replaced(line, folder):
    target = Path("target")
    target.write_text("old")
    out = Path("there") / Path(line).name
    out.symlink_to("../target")
    assert command(line).returncode in (0, 3)
    assert out.is_symlink()
    assert target.read_bytes() not in (b"", b"old")


@pytest.mark.sampled(3)
@pytest.mark.parametrize("line", WRITERS.values(), ids=WRITERS)
def test_a_folder_that_is_read_only_is_one_line(line, folder):
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "ro", "tmpfs", "there"]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a disk")
    try:
        ran = command(line)
    finally:
        subprocess.run(["/bin/umount", "there"], check=True)
    assert (ran.returncode, ran.stderr.strip().count("\n")) == (2, 0), ran.stderr
    assert "cannot be written" in ran.stderr


def test_a_demo_leaves_a_folder_with_other_files_alone(tmp_path):
    (tmp_path / "models.py").write_text("my own models")
    with pytest.raises(UsageError, match="holds other files"):
        prepare(tmp_path, "a text")
    assert [path.name for path in tmp_path.iterdir()] == ["models.py"]
    first = prepare(tmp_path / "new", "a text")
    assert vars(prepare(tmp_path / "new", "a text")) == vars(first)
