"""What is no checkpoint, or a damaged one, is named: one line, exit code 2, what to do."""

import pickle
import random
import shutil
import zipfile

import pytest

from rnneval.errors import CheckpointError
from tests.files.identified import identify

FOREIGN = {
    "empty": (
        b"",
        "an empty file; Keras leaves one where saving failed, as it does for a subclassed model",
        "interrupted-save",
    ),
    "text": ("words, größer\n".encode(), "a text file", "no-checkpoint"),
    "pickle 2": (pickle.dumps({"a": 1}, 2), "a pickle: reading one runs code, so it is never read", "pickle"),
    "pickle 5": (pickle.dumps([1], 5), "a pickle: reading one runs code, so it is never read", "pickle"),
    "LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
        "a Git LFS pointer.*run git lfs pull",
        "no-checkpoint",
    ),
    "HTML": (
        b"\n<!DOCTYPE html><html>",
        "an HTML page: the download gave a page about the file instead of the file",
        "no-checkpoint",
    ),
    "a graph": (
        b"\x08\x01\x12\xff\x01",
        r"the graph of a SavedModel \(saved_model.pb\): give its folder",
        "no-checkpoint",
    ),
    "bytes": (
        bytes([200, 201, 202, 203] * 100),
        r"neither a zip nor an HDF5 file \(it begins with c8 c9 ca cb\)",
        "no-checkpoint",
    ),
}

MISSING = "a checkpoint is a .keras, .h5 or .onnx file, or with --builder a .weights.h5 file or a TensorFlow checkpoint"


@pytest.mark.parametrize("ending", ["model.keras", "model"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_what_it_is_instead_is_told_by_its_bytes(tmp_path, kind, ending):
    content, said, rule = FOREIGN[kind]
    (tmp_path / ending).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{ending}: refused by rule {rule}: {said}") as caught:
        identify(tmp_path / ending)
    assert caught.value.rule == rule


def test_a_tensorflow_checkpoint_without_a_part(shelf, tmp_path):
    folder = shutil.copytree(shelf / "ckpt_net", tmp_path / "ckpt")
    (folder / "c.index").rename(folder / "kept")
    with pytest.raises(
        CheckpointError,
        match=r"c: refused by rule damaged-file: c\.index is missing beside its data: the checkpoint is not whole",
    ):
        identify(folder / "c.data-00000-of-00001")
    (folder / "kept").rename(folder / "c.index")
    (folder / "c.data-00000-of-00001").rename(folder / "c.data-00000-of-00002")
    with pytest.raises(
        CheckpointError,
        match="c: refused by rule damaged-file: 1 of 2 data files are there: the checkpoint is not whole",
    ):
        identify(folder)
    (folder / "c.data-00000-of-00002").unlink()
    with pytest.raises(
        CheckpointError,
        match=r"c: refused by rule damaged-file: c\.data-… is missing beside c\.index: the checkpoint is not whole",
    ):
        identify(folder / "c")


def flip(path, at):
    raw = bytearray(path.read_bytes())
    raw[at] ^= 0x10
    path.write_bytes(raw)


def stored(shelf):
    with zipfile.ZipFile(shelf / "flat.keras") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(path, members):
    """Write a zip of (name, content) pairs, names may repeat."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("../outside.txt", "zip-traversal"),
        ("assets/../../outside.txt", "zip-traversal"),
        ("/abs.txt", "zip-traversal"),
        ("a\\b", "zip-traversal"),
        ("assets\\x", "zip-traversal"),
        ("evil.py", "zip-members"),
    ],
)
def test_a_member_that_does_not_belong_there(refused, shelf, tmp_path, name, rule):
    path = zipped(tmp_path / "m.keras", [*stored(shelf).items(), (name, b"x")])
    assert refused("open", path).startswith(f"{path}: refused by rule {rule}: member {name!r} ")
    assert sorted(tmp_path.iterdir()) == [path]


def test_any_flipped_byte_under_a_checksum_is_found(shelf, tmp_path):
    """Keras itself would open most of these without a word."""
    path = zipped(tmp_path / "m.keras", stored(shelf).items())
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        places = [
            random.Random(info.filename).randrange(info.header_offset + 40 + len(info.filename), end)  # noqa: S311
            for info in archive.infolist()
            for end in [info.header_offset + 30 + len(info.filename) + info.file_size]
        ]
    for at in places:
        path.write_bytes(whole)
        flip(path, at)
        with pytest.raises(CheckpointError, match="does not match its checksum: the file is damaged, copy it again"):
            identify(path)


def test_missing(refused, tmp_path):
    assert refused("open", tmp_path / "no.keras") == f"{tmp_path}/no.keras: no such file or folder; {MISSING}"
