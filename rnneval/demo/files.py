"""Files of the demo, all in one folder, each like a user's own; and the recipe by which its models are trained."""

import json
from dataclasses import dataclass
from pathlib import Path

from rnneval.errors import UsageError

ONE, WRONG, RIGHT = "one-layer", "wrong-stack", "right-stack"
BUILDERS = {RIGHT: "RightStack", WRONG: "WrongStack", ONE: "OneLayer"}
"""The models by name, that with the most work first, and the class in `models.py` that makes each."""
KINDS = ("wiring.json", "run.json", "inside.json", "states.parquet", "gradients.json", "training.parquet")
"""Records of a model: its wiring, its evaluation, a trace of its states with its run record, its gradients on the
held-out text, and those of its training."""


class Files:
    """Paths of the demo's files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.text = folder / "topics.txt"
        self.vocabulary = folder / "vocab.json"  # the characters of the text, in the order of their ids
        self.source = folder / "models.py"
        self.comparison = folder / "gate.json"  # the right stack against one layer
        self.page = folder / "report.html"

    def of(self, name: str, kind: str) -> Path:
        """Return a file of a model, such as `right-stack.run.json`."""
        return self.folder / f"{name}.{kind}"

    def records(self) -> list[Path]:
        """Return every file that a report can show, those of the wrong model first."""
        every = [self.of(name, kind) for name in (WRONG, RIGHT, ONE) for kind in KINDS]
        return [path for path in (*every, self.comparison) if path.exists()]


def prepare(folder: Path, text: str) -> Files:
    """Make the folder, and write the files that need no model: text, vocabulary and code."""
    files = Files(folder)
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


@dataclass(frozen=True, kw_only=True)
class DemoRecipe:
    """Sizes of trainings and measurements; the same recipe and seed give the same model on one machine."""

    seed: int
    rows: int = 32
    steps: int = 240
    characters: int | None = None  # of the text that are used; None is the whole
    trained: int = 90  # per cent of the text; the rest is held out
    context: bool = True  # whether to measure the loss by length of context
    lags: int = 200  # this and what follows: as in `rnneval gradients`
    anchors: int = 64
    segments: int = 32


def recipe_for(*, seed: int, quick: bool) -> DemoRecipe:
    """Return the recipe of the demo; with `quick` it trains for a few seconds only."""
    if not quick:
        return DemoRecipe(seed=seed)
    return DemoRecipe(
        seed=seed, steps=8, characters=200_000, rows=16, trained=99, context=False, anchors=16, lags=64, segments=8
    )
