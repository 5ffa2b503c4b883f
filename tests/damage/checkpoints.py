"""Checkpoints of every format, to be damaged: small models, and the changes that suit each format."""

import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.damage.mutating import (
    BYTES,
    Change,
    Files,
    Mutant,
    edited_json,
    exchange,
    flip_inside,
    in_member,
    json_inside,
    marked,
    mutant,
    rezip,
)

Checksum = Callable[[str, bytes, int], bool]
"""(name, content, offset) → whether that byte lies under a checksum."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One checkpoint, where it lies in the folder, and how it is opened."""

    name: str
    place: str
    """A file, or the folder of the files."""
    changes: tuple[Change, ...]
    options: dict[str, Any]
    given: str = ""
    """What is given to `rnneval.open`, below `place`."""
    under_checksum: Checksum = lambda *_: False

    def files(self, folder: Path) -> Files:
        """Read them, whole."""
        place = folder / self.place
        if place.is_file():
            return {place.name: place.read_bytes()}
        return {
            path.relative_to(place).as_posix(): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()
        }

    def opened_at(self, folder: Path) -> Path:
        """Name what is opened, in a folder that holds the files."""
        return folder / (self.given or ("" if self.is_folder else Path(self.place).name))

    @property
    def is_folder(self) -> bool:
        return "." not in self.place

    def mutant(self, files: Files, seed: int) -> Mutant:
        return marked(mutant(files, self.changes, f"{self.name} {seed}"), files, self.under_checksum)


def in_a_member(_: str, raw: bytes, at: int) -> bool:
    """Of a zip: the packed bytes of a member, which its CRC32 is of."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        for info in archive.infolist():
            names, extra = struct.unpack("<HH", raw[info.header_offset + 26 : info.header_offset + 30])
            start = info.header_offset + 30 + names + extra
            if start <= at < start + info.compress_size:
                return True
    return False


def in_a_bundle(name: str, raw: bytes, at: int) -> bool:
    """Of a TensorFlow checkpoint: all of its data, and its index up to the footer of 48 bytes."""
    return ".data-" in name or (name.endswith(".index") and at < len(raw) - 48)


# --- HDF5: a hand that knows the format ---


def edit_hdf5(files: Files, draw: random.Random) -> Mutant:
    """Change one attribute, dataset or link."""
    name = next(name for name in sorted(files) if name.endswith((".h5", ".hdf5")))
    raw, where = hdf5_inside(files[name], draw)
    return Mutant(files={**files, name: raw}, what=f"hdf5-edit {name} {where}")


def hdf5_inside(raw: bytes, draw: random.Random) -> tuple[bytes, str]:
    target = io.BytesIO(raw)
    with h5py.File(target, "r+") as file:
        groups: list[Any] = [file]
        datasets: list[Any] = []
        file.visititems(lambda _, thing: (datasets if isinstance(thing, h5py.Dataset) else groups).append(thing))
        holders = [group for group in groups if len(group.attrs)]
        if holders and draw.random() < 0.5:
            where = _edit_attribute(draw.choice(holders), draw)
        else:
            where = _edit_dataset(file, sorted(datasets, key=lambda each: each.name), draw)
    return target.getvalue(), where


def _edit_attribute(group: Any, draw: random.Random) -> str:
    key = draw.choice(sorted(group.attrs))
    value = group.attrs[key]
    if key.endswith("config") and draw.random() < 0.8:
        text, where = edited_json(value.decode() if isinstance(value, bytes) else value, draw)
        group.attrs[key] = text
        return f"{group.name}@{key}:{where}"
    strange = [7, -1.5, b"\xff\xfe", "", "x" * 5000, np.zeros(3), np.array([b"a", b"a"]), h5py.Empty("f"), "../x"]
    how = draw.randrange(len(strange) + 2)
    if how == len(strange):
        del group.attrs[key]
    elif how == len(strange) + 1 and isinstance(value, np.ndarray):
        group.attrs[key] = value[::-1]
    else:
        group.attrs[key] = strange[how % len(strange)]
    return f"{group.name}@{key}"


def _edit_dataset(file: Any, datasets: list[Any], draw: random.Random) -> str:
    chosen = draw.choice(datasets)
    name, values = chosen.name, chosen[()]
    how = draw.choice(["lose", "rename", "turn", "number", "kind", "shape", "exchange", "group"])
    other = draw.choice(datasets).name
    del file[name]
    if how == "rename":
        file[f"{name}_"] = values
    elif how == "turn":
        file[name] = np.asarray(values).T
    elif how == "number":
        file[name] = np.full(np.shape(values), draw.choice([np.nan, np.inf, 0.0, 1e30]), np.float32)
    elif how == "kind":
        file[name] = draw.choice([np.asarray(values).astype("f8"), np.asarray(values).astype("i4"), b"text"])
    elif how == "shape":
        file.create_dataset(name, (100, 100), "f4")
    elif how == "exchange" and other != name:
        file[name] = file[other][()]
        del file[other]
        file[other] = values
    elif how == "group":
        file.create_group(name)
    return f"{name} {how}"


_KERAS: tuple[Change, ...] = (
    *BYTES[:6],
    rezip,
    in_member("config.json", json_inside),
    in_member("config.json", json_inside),
    in_member("metadata.json", json_inside),
    in_member("weights.h5", flip_inside),
    in_member("weights.h5", hdf5_inside),
)
_HDF5: tuple[Change, ...] = (*BYTES, edit_hdf5, edit_hdf5, edit_hdf5, edit_hdf5)
_FOLDER: tuple[Change, ...] = (*BYTES, exchange)


def subjects(folder: Path) -> dict[str, Subject]:
    """Name them all; `make` has put them into the folder."""
    letters = json.loads((folder / "vocab.json").read_text())
    given = {"vocabulary": letters}
    built = {"builder": f"{folder / 'model.py'}:MyModel", **given}
    flat = {"builder": f"{folder / 'model.py'}:flat", **given}
    found = (
        Subject(name="keras", place="flat.keras", changes=_KERAS, options=given, under_checksum=in_a_member),
        Subject(name="keras h5", place="flat.h5", changes=_HDF5, options=given),
        Subject(name="weights h5", place="flat.weights.h5", changes=_HDF5, options=flat),
        Subject(name="keras 2 h5", place="two.h5", changes=_HDF5, options={"vocabulary": letters[:7]}),
        Subject(
            name="keras 2 weights",
            place="two_weights.h5",
            changes=_HDF5,
            options={"builder": f"{folder / 'model.py'}:two", "vocabulary": letters[:7]},
        ),
        Subject(name="tf checkpoint", place="ckpt_saved", changes=_FOLDER, options=built, under_checksum=in_a_bundle),
        Subject(
            name="saved model",
            place="saved",
            changes=_FOLDER,
            options={"builder": f"{folder / 'model.py'}:MyModel"},
            under_checksum=in_a_bundle,
        ),
        Subject(
            name="tf1 checkpoint",
            place="tf1",
            changes=_FOLDER,
            options={"builder": f"{folder / 'model.py'}:one", "vocabulary": letters[:7]},
            given="model.ckpt-1000",
            under_checksum=in_a_bundle,
        ),
    )
    return {subject.name: subject for subject in found}


_MORE = """

def two():
    layers = keras.layers
    return keras.Sequential([layers.Input((None,)), layers.Embedding(7, 5, name="embedding"),
                             layers.GRU(4, return_sequences=True, name="low"), layers.Dense(7, name="dense")])


def one():
    layers = keras.layers
    return keras.Sequential([layers.Input((None,)), layers.Embedding(7, 5, name="embedding"),
                             layers.LSTM(4, return_sequences=True), layers.Dense(7, name="head")])
"""


def make(folder: Path) -> None:
    """Write every checkpoint, whole."""
    import keras
    import numpy as np
    import tensorflow as tf

    from tests.checkpoints import by_hand
    from tests.checkpoints.test_saved_model import OneStep
    from tests.checkpoints.test_tf1 import lstm
    from tests.checkpoints.test_tf1 import write as write_tf1
    from tests.shelf import BUILDER, LETTERS, code_of

    (folder / "model.py").write_text(BUILDER + _MORE)
    (folder / "vocab.json").write_text(json.dumps(list(LETTERS)))
    code = code_of(folder / "model.py")
    flat, own = code.flat(len(LETTERS)), code.MyModel(len(LETTERS))
    for model in (flat, own):
        model(np.ones((1, 2), np.int32))
    flat.save(folder / "flat.keras")
    flat.save(folder / "flat.h5")
    flat.save_weights(folder / "flat.weights.h5")
    tf.train.Checkpoint(model=own).save(str(folder / "ckpt_saved" / "ckpt"))
    config = by_hand.sequential(by_hand.embedding(), by_hand.recurrent("GRU", "low", 4), by_hand.dense())
    weights = by_hand.weights_of(config)
    by_hand.write(folder / "two.h5", config, weights)
    by_hand.write(folder / "two_weights.h5", None, weights)
    (folder / "tf1").mkdir()
    write_tf1(folder / "tf1", lstm())
    lookup = keras.layers.StringLookup(vocabulary=list(LETTERS), mask_token=None)
    back = keras.layers.StringLookup(vocabulary=lookup.get_vocabulary(), invert=True, mask_token=None)
    model = code.MyModel(len(LETTERS) + 1)
    one_step = OneStep(model, lookup, back)
    one_step.generate_one_step(tf.constant(["h"]))
    tf.saved_model.save(one_step, str(folder / "saved"))
