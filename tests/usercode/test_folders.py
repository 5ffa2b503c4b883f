"""A folder of checkpoints in place of one: the newest is named, and the commands for one and for all."""

import os

import pytest

from rnneval.checkpoints import examined
from rnneval.errors import CheckpointError, UsageError


def preflight(path, **options):
    """What is found of a checkpoint that is not refused."""
    with examined(path, **options) as found:
        return found


def folder_of(tmp_path, names, times):
    for name, time in zip(names, times, strict=True):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (time, time))
    return tmp_path


@pytest.mark.parametrize(
    ("names", "times", "newest"),
    [
        (["ckpt_1.weights.h5", "ckpt_2.weights.h5", "ckpt_10.weights.h5"], [3, 3, 3], "ckpt_10.weights.h5"),
        (["ckpt_1.weights.h5", "ckpt_2.weights.h5"], [5, 3], "ckpt_1.weights.h5"),
        (["a.keras", "b.keras", "notes.txt"], [1, 2, 9], "b.keras"),
    ],
)
def test_several_files(tmp_path, names, times, newest):
    folder = folder_of(tmp_path, names, times)
    with pytest.raises(CheckpointError) as caught:
        preflight(folder, has_builder=True)
    said = str(caught.value)
    count = len(names) - ("notes.txt" in names)
    assert f"{count} checkpoints, the newest is {newest}" in said
    assert f"rnneval evaluate {folder / newest} TEXT" in said
    assert f"rnneval sweep {folder} TEXT --out results" in said
    assert ("builder=" in said) == newest.endswith("h5")


def test_tensorflow_checkpoints_without_a_state_file(tmp_path):
    names = [f"ckpt-{number}{ending}" for number in (2, 10) for ending in (".index", ".data-00000-of-00001")]
    with pytest.raises(
        CheckpointError, match=r"2 checkpoints, the newest is ckpt-10: .*evaluate .*ckpt-10 TEXT; for all"
    ):
        preflight(folder_of(tmp_path, names, [7, 7, 7, 7]), has_builder=True)


def test_one_file(tmp_path):
    with pytest.raises(
        CheckpointError, match=r"one checkpoint, m\.keras: to evaluate it: rnneval evaluate .*m\.keras TEXT$"
    ):
        preflight(folder_of(tmp_path, ["m.keras"], [1]), has_builder=False)


def test_the_hint_for_weights_says_that_nothing_is_trained(tmp_path):
    import h5py
    import numpy as np

    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        file["layers/dense/vars/0"] = np.zeros((2, 2), "float32")
    with pytest.raises(UsageError, match=r"builder='train\.py:MyModel' \(of train\.py only what MyModel needs is run"):
        preflight(tmp_path / "m.weights.h5", has_builder=False)
