"""Commands that write a file, on a full disk: the old file stays, and one line says so."""

import resource
from pathlib import Path

import pytest

from rnneval import paths
from rnneval.records import write
from tests.gates.synthetic import ar_losses, make_run

READ = {
    "gate": "gate run.json --baseline run2.json --quiet --out there/out.json",
    "report": "report run.json --out there/out.html",
    "PNG": "plot run.json --out there/out.png",
    "lint": "lint source.py --format sarif --out there/out.sarif",
}
MEASURED = {
    "record": "evaluate {shelf}/flat.keras {shelf}/text.txt --no-check --quiet --out there/r.json",
    "losses": "evaluate {shelf}/flat.keras {shelf}/text.txt --no-check --quiet --losses there/t.parquet",
    "trace": "trace {shelf}/flat.keras {shelf}/text.txt --quiet --out there/t.parquet",
    "sweep": "sweep checkpoints {shelf}/text.txt --quiet --jobs 1 --out there",
}
WRITERS = {**READ, **MEASURED}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("run.json", "run2.json")):
        write(make_run(ar_losses(4000, seed=number)), name)
    Path("source.py").write_text("x = 1\n")
    Path("there").mkdir()
    Path("checkpoints").mkdir()
    return tmp_path


@pytest.fixture
def words(folder, request):
    """A function that returns the words of a line of `WRITERS`; models are on the shelf."""

    def of(line: str) -> list[str]:
        if "{shelf}" not in line and "sweep" not in line:
            return line.split()
        shelf = request.getfixturevalue("shelf")
        Path("checkpoints/epoch1.keras").write_bytes((shelf / "flat.keras").read_bytes())
        return [*(word.format(shelf=shelf.folder) for word in line.split()), "--vocab", str(shelf / "vocab.json")]

    return of


def target(line: str) -> Path:
    """Return the file that a command of `WRITERS` writes."""
    return Path("there/sweep.parquet" if line.startswith("sweep") else line.rsplit(maxsplit=1)[-1])


@pytest.mark.sampled(2)
@pytest.mark.parametrize("line", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_leaves_the_old_file_and_is_one_line(line, words, refused, monkeypatch):
    """A limit on the size of files stands for the disk, from the moment at which the file of the result is made."""
    place = target(line)
    place.write_text("old")
    before, create = resource.getrlimit(resource.RLIMIT_FSIZE), paths._create_beside

    def create_and_fill(path, folder):
        made = create(path, folder)
        if path.suffix == place.suffix:
            resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
        return made

    monkeypatch.setattr(paths, "_create_beside", create_and_fill)
    try:
        said = refused(*words(line))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert f"{place}: cannot be written: " in said
    assert "File too large; what was there is unchanged" in said
    assert place.read_text() == "old"
    assert not list(Path("there").glob("*.part"))
