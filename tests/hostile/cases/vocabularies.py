"""What lies beside a checkpoint, or is given as its vocabulary."""

import io
import os
from pathlib import Path

import numpy as np

from tests.hostile import plain
from tests.hostile.canary import Canary
from tests.hostile.corpus import case
from tests.hostile.plain import keras_file

VOCAB = ("open", "{file}", "--vocab")


@case("pickle", "pickle of the sibling", arguments=(*VOCAB, "{folder}/vocab.pkl"), after_tensorflow=True)
def pickled_vocabulary(folder: Path, canary: Canary) -> Path:
    """A vocabulary that is a pickle."""
    (folder / "vocab.pkl").write_bytes(plain.pickled(canary.code))
    return keras_file(folder / "m.keras")


@case("pickle", "numpy with pickles", arguments=(*VOCAB, "{folder}/vocab.npy"), after_tensorflow=True)
def array_of_objects(folder: Path, canary: Canary) -> Path:
    """A `.npy` vocabulary that is an array of objects."""

    class Runs:
        def __reduce__(self) -> tuple:
            return exec, (canary.code,)

    np.save(folder / "vocab.npy", np.array([Runs()], object), allow_pickle=True)
    return keras_file(folder / "m.keras")


@case(
    "vocabulary-array",
    "none: NumPy asks for the memory, and Linux gives it only where it is written",
    arguments=(*VOCAB, "{folder}/vocab.npy"),
    after_tensorflow=True,
)
def array_of_a_terabyte(folder: Path, canary: Canary) -> Path:
    """A `.npy` vocabulary that declares a gigabyte and holds nothing."""
    held = io.BytesIO()
    np.lib.format.write_array_header_1_0(held, {"descr": "<U1", "fortran_order": False, "shape": (1 << 28,)})
    (folder / "vocab.npy").write_bytes(held.getvalue())
    return keras_file(folder / "m.keras")


@case("", "pickle of the sibling", after_tensorflow=True)
def pickle_beside_the_model(folder: Path, canary: Canary) -> Path:
    """A pickle called vocab.pkl beside a good model: it opens, and nothing happens."""
    (folder / "vocab.pkl").write_bytes(plain.pickled(canary.code))
    return keras_file(folder / "m.keras")


@case("", "opened and waited for", after_tensorflow=True)
def pipe_beside_the_model(folder: Path, canary: Canary) -> Path:
    """A pipe called vocab.txt beside a good model: it opens, and nothing waits."""
    os.mkfifo(folder / "vocab.txt")
    return keras_file(folder / "m.keras")


@case("", "imported in the folder", after_tensorflow=True)
def modules_beside_the_model(folder: Path, canary: Canary) -> Path:
    """Files called like packages that Keras imports, beside a good model: it opens, and none is imported."""
    for name in ("tensorflow", "keras_hub", "h5py", "json", "jax", "optree", "ml_dtypes", "scipy"):
        (folder / f"{name}.py").write_text(canary.code)
    return keras_file(folder / "m.keras")


@case("", "opened as named", after_tensorflow=True)
def vocabulary_that_is_a_link(folder: Path, canary: Canary) -> Path:
    """A vocab.json that is a link to a file of yours, beside a good model: it opens, and the file is not read."""
    (folder / "vocab.json").symlink_to(canary.secret(b'["s", "e", "c", "r", "t"]'))
    return keras_file(folder / "m.keras")


@case("", "imported in the folder", after_tensorflow=True)
def library_of_a_tokenizer_beside_it(folder: Path, canary: Canary) -> Path:
    """A tokenizer.json beside a good model, and files called like the libraries that read it: none is imported."""
    (folder / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": []}}')
    (folder / "spm.model").write_bytes(b"\x0a\x0e\x0a\x05<unk>\x15\x00\x00\x00\x00\x18\x02")
    for name in ("keras_hub", "tokenizers", "sentencepiece"):
        (folder / f"{name}.py").write_text(canary.code)
    return keras_file(folder / "m.keras")
