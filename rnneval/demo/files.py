"""Files of the demo, all in one folder, each like a user's own; and the recipe by which its models are trained."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rnneval.errors import UsageError

ONE, WRONG, RIGHT = "one-layer", "wrong-stack", "right-stack"
BUILDERS = {ONE: "OneLayer", WRONG: "WrongStack", RIGHT: "RightStack"}
"""The models by name, and the class in `models.py` that makes each."""


class Files:
    """Paths of the demo's files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.text = folder / "topics.txt"
        self.vocabulary = folder / "vocab.json"
        """The characters of the text, in the order of their ids."""
        self.source = folder / "models.py"
        self.comparison = folder / "gate.json"
        """The gate's record: the right stack against one layer."""
        self.page = folder / "report.html"

    def of(self, name: str) -> "ModelFiles":
        """Return the files of a model."""
        return ModelFiles(self.folder / name, f"{self.source}:{BUILDERS[name]}")

    def records(self) -> Iterator[Path]:
        """Yield every file that a report can show, those of the wrong model first."""
        every = [self.comparison]
        for own in map(self.of, (ONE, RIGHT, WRONG)):
            every = [own.wiring, own.run, own.inside, own.states, own.gradients, own.history, *every]
        yield from (path for path in every if path.exists())


class ModelFiles:
    """Paths of the files of one model."""

    def __init__(self, stem: Path, builder: str) -> None:
        self.builder = builder
        """The code that makes the model, as `--builder` takes it."""
        self.weights = Path(f"{stem}.weights.h5")
        """All that can be saved of a subclassed model."""
        self.history = Path(f"{stem}.training.parquet")
        """The gradient history of its training."""
        self.wiring = Path(f"{stem}.wiring.json")
        self.run = Path(f"{stem}.run.json")
        self.states = Path(f"{stem}.states.parquet")
        """The trace of its states along the held-out text."""
        self.inside = Path(f"{stem}.inside.json")
        """The run record of that trace."""
        self.gradients = Path(f"{stem}.gradients.json")
        """The record of its gradients on the held-out text."""


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
    """Sizes and lengths of trainings and measurements; the same recipe and seed give the same model on one machine."""

    embedding_dim: int = 64
    rnn_units: int = 128
    rows: int = 32
    segment: int = 64
    steps: int = 240
    characters: int | None = None
    """Length of the text that is used; None is the whole."""
    trained: int = 90
    """Per cent of the text; the rest is held out."""
    context: bool = True
    """Whether to measure the loss by length of context."""
    anchors: int = 64
    lags: int = 200
    segments: int = 32
    """As in `rnneval gradients`."""
    learning_rate: float = 4e-3
    seed: int = 0

    def builder_arguments(self, vocab_size: int) -> dict[str, int]:
        """Return the arguments of the demo's builders."""
        return {"vocab_size": vocab_size, "embedding_dim": self.embedding_dim, "rnn_units": self.rnn_units}


def recipe_for(*, seed: int, quick: bool) -> DemoRecipe:
    """Return the recipe of the demo; with `quick` it trains for a few seconds only."""
    if not quick:
        return DemoRecipe(seed=seed)
    return DemoRecipe(
        seed=seed, steps=8, characters=200_000, rows=16, trained=99, context=False, anchors=16, lags=64, segments=8
    )
