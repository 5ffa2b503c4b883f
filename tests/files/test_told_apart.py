"""Truncated, empty, locked, unreadable and half-saved files are told apart; hashes are of what they say."""

import shutil
import subprocess
import sys

import pytest

from rnneval.checkpoints import examined, identify
from rnneval.errors import CheckpointError


def preflight(path, **options):
    """What is found of a checkpoint that is not refused."""
    with examined(path, **options) as found:
        return found


def rule_of(path):
    with pytest.raises(CheckpointError) as caught:
        identify(path)
    assert f"refused by rule {caught.value.rule}: " in str(caught.value)
    return caught.value.rule


def test_a_state_file_that_names_a_checkpoint_which_is_not_there(shelf, tmp_path):
    """TensorFlow's latest_checkpoint gives None here, and restoring None does nothing without a word."""
    folder = shutil.copytree(shelf / "ckpt_saved", tmp_path / "ckpt")
    assert identify(folder).path == folder / "ckpt-1"
    (folder / "checkpoint").write_text('model_checkpoint_path: "/home/me/run/ckpt-9"\n')
    with pytest.raises(
        CheckpointError, match=r"damaged-file: its file checkpoint names ckpt-9, .* not there \(ckpt-1 is"
    ):
        identify(folder)
    assert identify(folder / "ckpt-1").path == folder / "ckpt-1"
    for part in folder.glob("ckpt-1.*"):
        part.unlink()
    with pytest.raises(CheckpointError, match=r"ckpt: a folder without a checkpoint \(it holds checkpoint\)"):
        identify(folder)


def test_locked_by_a_process_that_writes(tmp_path):
    path = tmp_path / "m.weights.h5"
    holds = f"import h5py, sys; f = h5py.File({str(path)!r}, 'w'); f['a'] = [1.0]; print('open', flush=True); input()"
    other = subprocess.Popen([sys.executable, "-c", holds], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "open\n"
    try:
        assert rule_of(path) == "locked-file"
    finally:
        other.communicate("\n")
    assert identify(path).format == "weights-h5"
