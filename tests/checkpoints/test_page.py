"""The page docs/checkpoints.md: every proof that it names is a test, and nothing is loaded in part anywhere."""

import re
from pathlib import Path

import pytest

from tests.checkpoints.writing import KERAS_2, KERAS_3

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "checkpoints.md").read_text(encoding="utf-8")
SOURCES = {path: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")}
FORMATS = {
    "`.h5`, `.hdf5` whole model, Keras 2": "whole-h5",
    "`.keras`, Keras 2": "keras",
    "`.h5` weights, Keras 2": "h5",
    "`.hdf5` weights, Keras 2": "hdf5",
    "`.weights.h5`, Keras 2": "weights-h5",
    "`ckpt_{epoch}` of `save_weights`, Keras 2": "ckpt",
    "`tf.train.Checkpoint`, Keras 2": "tf-ckpt",
    "SavedModel, Keras 2": "saved-model",
    "`.keras`, Keras 3": "keras",
    "`.h5` whole model, Keras 3": "whole-h5",
    "`.weights.h5`, Keras 3": "weights-h5",
    "`tf.train.Checkpoint`, Keras 3": "tf-ckpt",
}


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)`", PAGE))))
def test_every_proof_is_a_test(name):
    assert any(f"def {name}(" in source for source in SOURCES.values())


def test_every_written_file_is_a_case():
    rows = {
        line.split(" | ")[0].removeprefix("| "): line
        for line in PAGE.splitlines()
        if line.startswith(("| `", "| SavedModel"))
    }
    for label, form in FORMATS.items():
        for keras, name in re.findall(r"`(K[23]):(\w+)`", rows[label]):
            assert (name, form) in {"K2": KERAS_2, "K3": KERAS_3}[keras], (label, name)


def test_every_case_is_on_the_page():
    assert {name for name, _ in KERAS_2} <= set(re.findall(r"`K2:(\w+)`", PAGE))
    assert {name for name, _ in KERAS_3} <= set(re.findall(r"`K3:(\w+)`", PAGE))


def test_nothing_is_loaded_in_part():
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "rnneval").rglob("*.py"))
    assert not re.search(r"\b(by_name|skip_mismatch)\s*=", sources)
