"""A folder of checkpoints in place of one: the newest is named, and the commands for one and for all."""

import os

import pytest

from rnneval.checkpoints import examined
from rnneval.errors import CheckpointError


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
