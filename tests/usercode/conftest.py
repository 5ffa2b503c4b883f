"""A user's file, its slice run in a folder that is watched."""

from pathlib import Path

import pytest

from rnneval.checkpoints.usercode.builder import run_slice
from rnneval.checkpoints.usercode.plan import plan
from tests.usercode.scripts import notebook


class UserFile:
    """A folder with a user's file in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, *cells: str, name: str = "train.py") -> str:
        """Write the file: a script of these pieces, or a notebook of these cells."""
        text = notebook(*cells) if name.endswith(".ipynb") else "\n".join(cells)
        (self.folder / name).write_text(text, encoding="utf-8")
        return str(self.folder / name)

    def spec(self, name, *cells, file="train.py") -> str:
        """Write the file and return its name as a builder."""
        return f"{self.write(*cells, name=file)}:{name}"

    def run(self, name, *cells, given=None, file="train.py"):
        """Write the file, run the slice of a name, and return the module."""
        return run_slice(plan(self.spec(name, *cells, file=file), given))

    def value(self, name, *cells, given=None, file="train.py"):
        """Run the slice of a name and return its value."""
        return getattr(self.run(name, *cells, given=given, file=file), name)

    def files(self) -> set[str]:
        """The names of all files in the folder."""
        return {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*")}


@pytest.fixture
def user(tmp_path, monkeypatch) -> UserFile:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return UserFile(tmp_path)
