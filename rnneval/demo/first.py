"""The demo in its first form: train, save, open the saved file, evaluate what was held out."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnneval.demo.text import topics_text
from rnneval.demo.training import Progress, Recipe, train
from rnneval.engine import evaluate
from rnneval.errors import UsageError
from rnneval.models import open as open_checkpoint
from rnneval.records import Run

PART = "90%:"


@dataclass(frozen=True, kw_only=True)
class Written:
    """The files of the demo."""

    text: Path
    vocabulary: Path
    checkpoint: Path
    record: Path


def files_in(folder: Path) -> Written:
    """Name the demo's files, and make the folder.

    Raises:
        UsageError: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be made: {error.strerror or error}: give another --out FOLDER") from error
    return Written(
        text=folder / "topics.txt",
        vocabulary=folder / "vocab.json",
        checkpoint=folder / "model.keras",
        record=folder / "run.json",
    )


def train_and_save(files: Written, recipe: Recipe, progress: Progress | None) -> None:
    """Write the text and its vocabulary, train on the first nine tenths, and save the model."""
    text = topics_text()
    characters = sorted(set(text))
    files.text.write_text(text, encoding="utf-8", newline="")
    files.vocabulary.write_text(json.dumps(characters), encoding="utf-8")
    number = {character: index for index, character in enumerate(characters)}
    ids = np.array([number[character] for character in text[: len(text) * 9 // 10]], np.int32)
    train(ids, len(characters), recipe, progress).save(files.checkpoint)


def evaluate_saved(files: Written, progress: Progress | None) -> Run:
    """Open the saved file as a stranger would, and evaluate the last tenth of the text."""
    lm = open_checkpoint(files.checkpoint)
    command = ["rnneval", "evaluate", str(files.checkpoint), str(files.text), "--part", PART]
    return evaluate(lm, files.text, part=PART, progress=progress, command=[*command, "--out", str(files.record)])
