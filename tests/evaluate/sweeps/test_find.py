"""What is taken for a checkpoint: a folder in which somebody worked, and what a person would say is in it."""

import pickle
import shutil

import numpy as np
import pytest

from rnneval.errors import UsageError
from rnneval.evaluate.sweep import find_checkpoints


@pytest.fixture
def folder(shelf, tmp_path):
    root = tmp_path / "work"
    (root / "run" / "deep").mkdir(parents=True)
    (root / ".ipynb_checkpoints").mkdir()
    (root / "results").mkdir()
    shutil.copy(shelf / "flat.keras", root / "ckpt_10.keras")
    shutil.copy(shelf / "flat.h5", root / "ckpt_9.h5")
    shutil.copy(shelf / "flat.keras", root / "run" / "no_ending")
    shutil.copy(shelf / "my.weights.h5", root / "run" / "deep" / "my.weights.h5")
    shutil.copy(shelf / "flat.keras", root / "results" / "hidden_by_out.keras")
    shutil.copy(shelf / "flat.keras", root / ".ipynb_checkpoints" / "flat.keras")
    shutil.copytree(shelf / "ckpt_saved", root / "run" / "tf")
    (root / "empty.keras").touch()
    (root / "model.h5").write_bytes(pickle.dumps({}))
    (root / "text.txt").write_text("abc")
    (root / "vocab.json").write_text("[]")
    np.savez(root / "arrays.npz", x=np.ones(3))
    (root / "run" / "loop").symlink_to(root)
    (root / "outside.keras").symlink_to("/etc/hostname")
    (root / "latest.keras").symlink_to(root / "ckpt_10.keras")
    return root


def test_checkpoints_are_told_by_content_and_listed_once(folder):
    assert list(find_checkpoints(folder, out=folder / "results")) == [
        "ckpt_9.h5", "ckpt_10.keras", "empty.keras", "model.h5", "run/deep/my.weights.h5", "run/no_ending",
        "run/tf/ckpt-1",
    ]  # fmt: skip


def test_a_folder_without_checkpoints(tmp_path):
    (tmp_path / "notes.txt").write_text("hi")
    with pytest.raises(UsageError, match="no checkpoint in it"):
        find_checkpoints(tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        find_checkpoints(tmp_path / "nowhere")
