"""Checkpoints of several files, and SavedModels."""

import os
import struct
from pathlib import Path

import google_crc32c

from tests.hostile import plain
from tests.hostile.canary import Canary
from tests.hostile.corpus import Case

_BUILDER = ("open", "{file}", "--builder", "{folder}/none.py:Model")
_MINE_BUILDER = ("open", "{file}", "--builder", "{folder}/mine.py:Mine")


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def masked(crc: int) -> int:
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def table(entries: dict[bytes, bytes]) -> bytes:
    """A table of LevelDB with one block."""

    def block(pairs: list[tuple[bytes, bytes]]) -> bytes:
        held = b"".join(b"\0" + varint(len(k)) + varint(len(v)) + k + v for k, v in pairs)
        held += struct.pack("<2L", 0, 1) + b"\0"
        return held + struct.pack("<L", masked(google_crc32c.value(held)))

    data = block(sorted(entries.items()))
    empty = block([])
    place = varint(0) + varint(len(data) - 5)
    index = block([(max(entries), place)])
    at = len(data) + len(empty)
    footer = varint(len(data)) + varint(len(empty) - 5) + varint(at) + varint(len(index) - 5)
    return data + empty + index + footer.ljust(40, b"\0") + (0xDB4775248B80FB57).to_bytes(8, "little")


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def entry(shape: tuple[int, ...], offset: int, size: int, crc: int, kind: int = 1) -> bytes:
    dims = b"".join(field(2, field(1, dim % (1 << 64))) for dim in shape)
    crc_field = varint(6 << 3 | 5) + struct.pack("<L", crc)
    return field(1, kind) + field(2, dims) + field(4, offset) + field(5, size) + crc_field


def checkpoint(folder: Path, shape: tuple[int, ...] = (2, 2), size: int | None = None, name: str = "c") -> Path:
    """A checkpoint of one tensor, whose index says what is asked for."""
    held = bytes(range(16))
    header = field(1, 1) + field(3, field(1, 1))
    one = entry(shape, 0, len(held) if size is None else size, masked(google_crc32c.value(held)))
    (folder / f"{name}.data-00000-of-00001").write_bytes(held)
    (folder / f"{name}.index").write_bytes(table({b"": header, b"kernel": one}))
    return folder


def unzipped_keras(folder: Path, canary: Canary) -> Path:
    """An unzipped `.keras` folder, whose configuration can be exchanged after it was looked at."""
    for name, content in plain.members().items():
        (folder / name).write_bytes(content)
    return folder


def state_file_that_leads_out(folder: Path, canary: Canary) -> Path:
    """A `checkpoint` file that names a checkpoint outside of the folder."""
    canary.secret(name="secret.index")
    checkpoint(folder)
    (folder / "checkpoint").write_text('model_checkpoint_path: "../traps/secret"\n')
    return folder


def data_that_is_a_link(folder: Path, canary: Canary) -> Path:
    """A data file that is a link to a file of yours."""
    checkpoint(folder)
    data = folder / "c.data-00000-of-00001"
    secret = canary.secret(data.read_bytes(), "secret.data")
    data.unlink()
    data.symlink_to(secret)
    return folder


def data_that_is_a_pipe(folder: Path, canary: Canary) -> Path:
    """A data file that is a pipe, on which a reader waits for ever."""
    checkpoint(folder)
    (folder / "c.data-00000-of-00001").unlink()
    os.mkfifo(folder / "c.data-00000-of-00001")
    return folder


def tensor_of_four_gigabytes(folder: Path, canary: Canary) -> Path:
    """A tensor of 4 GB by its shape, with 16 bytes of data; every checksum is right."""
    (folder.parent / "mine.py").write_text(_MINE)
    return checkpoint(folder, shape=(1 << 15, 1 << 15), size=1 << 32)


def writing_saved_model(folder: Path, canary: Canary) -> Path:
    """A SavedModel whose function writes the canary's file when it is called."""
    import tensorflow as tf

    class Writes(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32)])
        def serve(self, x):
            tf.io.write_file(str(canary.file), "x")
            return x

    tf.saved_model.save(Writes(), str(folder), signatures=None)
    (folder / "variables").mkdir(exist_ok=True)
    checkpoint(folder / "variables", name="variables")
    return folder


def saved_model_that_writes(folder: Path, canary: Canary) -> Path:
    """A SavedModel with a file-writing operation."""
    return writing_saved_model(folder, canary)


_MINE = """
import keras

class Mine(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = keras.layers.Embedding(7, 5)
        self.gru = keras.layers.GRU(4, return_sequences=True, return_state=True)
        self.dense = keras.layers.Dense(7)

    def call(self, ids, states=None, return_state=False):
        x, states = self.gru(self.embedding(ids), initial_state=states)
        return (self.dense(x), states) if return_state else self.dense(x)
"""


Case("unzipped_keras", "folder-unzipped", unzipped_keras)
Case("state_file_that_leads_out", "folder-link", state_file_that_leads_out, _BUILDER)
Case("data_that_is_a_link", "folder-link", data_that_is_a_link, _BUILDER)
Case("data_that_is_a_pipe", "folder-link", data_that_is_a_pipe, _BUILDER)
Case("tensor_of_four_gigabytes", "bundle-size", tensor_of_four_gigabytes, _MINE_BUILDER, late=True)
Case("tensor_of_an_impossible_shape", "bundle-size", lambda folder, _: checkpoint(folder, (1 << 40, 1 << 40)), _BUILDER)
Case("saved_model_that_writes", "graph-never-run", saved_model_that_writes, needs_tensorflow=True)
