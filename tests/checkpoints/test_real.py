"""Models that were published: `pytest -m real_data`, with RNNEVAL_PACKAGES naming a folder of unpacked sdists."""

import os
from pathlib import Path

import pytest

import rnneval

pytestmark = pytest.mark.real_data
HERE = Path(__file__).parent
ENGLISH = "This is what happens when you let a recurrent neural network write the titles of posts: it learns to spell. "


def published(name):
    folder = os.environ.get("RNNEVAL_PACKAGES")
    found = sorted(Path(folder).glob(f"**/{name}")) if folder else []
    if not found:
        pytest.skip(f"RNNEVAL_PACKAGES names no folder with {name}: pip download --no-deps --no-binary :all: PACKAGE")
    return found[0]


def test_textgenrnn(tmp_path):
    """Trained on posts; a wrong layout, gate or vocabulary is far above the 4 bits of guessing among common letters."""
    weights = published("textgenrnn_weights.hdf5")
    lm = rnneval.open(
        weights, builder=f"{HERE / 'textgenrnn_model.py'}:make", vocabulary=weights.with_name("textgenrnn_vocab.json")
    )
    text = tmp_path / "text.txt"
    text.write_text(ENGLISH * 2)
    run = rnneval.evaluate(lm, text, pad=True)
    assert (lm.window, lm.width, lm.vocabulary.first_id) == (40, 465, 1)
    assert "weights were in the layout of cuDNN's own layers, and were rearranged" in lm.assumptions
    assert run.scores["bits_per_char"].value < 3
