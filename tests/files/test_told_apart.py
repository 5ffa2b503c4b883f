"""Truncated, empty, locked, unreadable and half-saved files are told apart; hashes are of what they say."""

import hashlib
import shutil
import subprocess
import sys

import h5py
import pytest

from rnneval.checkpoints import examined, identify
from rnneval.errors import CheckpointError
from tests.hostile.cases.folders import checkpoint
from tests.hostile.plain import keras_file


def preflight(path, **options):
    """What is found of a checkpoint that is not refused."""
    with examined(path, **options) as found:
        return found


def rule_of(path):
    with pytest.raises(CheckpointError) as caught:
        identify(path)
    assert f"refused by rule {caught.value.rule}: " in str(caught.value)
    return caught.value.rule


def test_hdf5_that_holds_nothing(tmp_path):
    h5py.File(tmp_path / "m.h5", "w").close()
    assert rule_of(tmp_path / "m.h5") == "interrupted-save"


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


@pytest.mark.parametrize("address", ["https://example.org/m.keras", "gs://bucket/m.keras", "hf://a/b"])
def test_addresses(refused, address):
    assert refused("open", address).partition(": refused by rule ")[2].startswith("remote-path: an address (")


def test_the_hash_of_a_file(tmp_path):
    path = keras_file(tmp_path / "m.keras")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert preflight(path, has_builder=False, expect_sha256=digest.upper()).sha256 == digest
    with pytest.raises(CheckpointError, match=f"its SHA-256 is {digest}, not {'0' * 64}: another file"):
        preflight(path, has_builder=False, expect_sha256="0" * 64)


@pytest.mark.parametrize(("size", "rule"), [((1 << 27) + 1, "graph-never-run"), (1 << 27, None)])
def test_a_graph_larger_than_any_model_is_not_read(tmp_path, size, rule):
    (tmp_path / "variables").mkdir()
    checkpoint(tmp_path / "variables", name="variables")
    with (tmp_path / "saved_model.pb").open("wb") as file:
        file.truncate(size)  # a hole: no byte of it is on the disk
    if rule is None:
        assert preflight(tmp_path, has_builder=True).format == "saved-model"
        return
    with pytest.raises(
        CheckpointError, match=r"saved_model\.pb has 134,217,729 bytes; up to 134,217,728 are read"
    ) as caught:
        preflight(tmp_path, has_builder=True)
    assert caught.value.rule == rule
