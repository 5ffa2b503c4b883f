"""Files of the demo: all in one folder, each like a user's own."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rnneval.errors import UsageError

ONE, WRONG, RIGHT = "one-layer", "wrong-stack", "right-stack"
BUILDERS = {ONE: "OneLayer", WRONG: "WrongStack", RIGHT: "RightStack"}
"""The models by name, and the class in `models.py` that makes each."""


@dataclass(frozen=True, kw_only=True)
class Files:
    """Paths of the demo's files."""

    folder: Path

    @property
    def text(self) -> Path:
        """The whole text."""
        return self.folder / "topics.txt"

    @property
    def vocabulary(self) -> Path:
        """Its characters, in the order of their ids."""
        return self.folder / "vocab.json"

    @property
    def source(self) -> Path:
        """The code of the models."""
        return self.folder / "models.py"

    @property
    def comparison(self) -> Path:
        """The gate's record: the right stack against one layer."""
        return self.folder / "gate.json"

    @property
    def page(self) -> Path:
        """The report."""
        return self.folder / "report.html"

    def weights(self, name: str) -> Path:
        """Return the path of a model's weights: all that can be saved of a subclassed model."""
        return self.folder / f"{name}.weights.h5"

    def history(self, name: str) -> Path:
        """Return the path of the gradient history of its training."""
        return self.folder / f"{name}.training.parquet"

    def wiring(self, name: str) -> Path:
        """Return the path of its wiring record."""
        return self.folder / f"{name}.wiring.json"

    def run(self, name: str) -> Path:
        """Return the path of its run record."""
        return self.folder / f"{name}.run.json"

    def states(self, name: str) -> Path:
        """Return the path of the trace of its states along the held-out text."""
        return self.folder / f"{name}.states.parquet"

    def inside(self, name: str) -> Path:
        """Return the path of the run record of that trace."""
        return self.folder / f"{name}.inside.json"

    def gradients(self, name: str) -> Path:
        """Return the path of the record of its gradients on the held-out text."""
        return self.folder / f"{name}.gradients.json"

    def builder(self, name: str) -> str:
        """Return the builder of a model, as `--builder` takes it."""
        return f"{self.source}:{BUILDERS[name]}"

    def records(self) -> Iterator[Path]:
        """Yield every file that a report can show, those of the wrong model first."""
        for name in (WRONG, RIGHT, ONE):
            of_one = (self.wiring, self.run, self.inside, self.states, self.gradients, self.history)
            yield from (path for place in of_one if (path := place(name)).exists())
        if self.comparison.exists():
            yield self.comparison


def prepare(folder: Path, text: str) -> Files:
    """Make the folder, and write the files that need no model: text, vocabulary and code.

    Raises:
        UsageError: the folder or a file in it cannot be written, or holds files that are not of a demo.
    """
    files = Files(folder=folder)
    source = Path(__file__).with_name("models.py").read_text(encoding="utf-8")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        ours = files.source.is_file() and files.source.read_bytes() == source.encode()
        if not ours and any(folder.iterdir()):
            raise UsageError(f"{folder}: holds other files, which a demo could replace: give another --out FOLDER")
        files.source.write_text(source, encoding="utf-8", newline="")  # first: it marks the folder as a demo's
        files.text.write_text(text, encoding="utf-8", newline="")
        files.vocabulary.write_text(json.dumps(sorted(set(text))), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{folder}: cannot be made: {error.strerror or error}: give another --out FOLDER") from error
    return files
