"""What lies beside a checkpoint, or is given as its vocabulary."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.hostile.canary import Canary
from tests.hostile.corpus import Case
from tests.hostile.plain import keras_file, pickled

MODULES = ("tensorflow", "keras_hub", "h5py", "json", "jax", "optree", "ml_dtypes", "scipy")


def array_of_objects(folder: Path, canary: Canary) -> None:
    """An array of objects, which NumPy keeps as a pickle."""

    class Runs:
        def __reduce__(self) -> tuple:
            return exec, (canary.code,)

    np.save(folder / "vocab.npy", np.array([Runs()], object), allow_pickle=True)


def array_of_a_gigabyte(folder: Path, canary: Canary) -> None:
    """An array that declares a gigabyte and holds nothing."""
    held = io.BytesIO()
    np.lib.format.write_array_header_1_0(held, {"descr": "<U1", "fortran_order": False, "shape": (1 << 28,)})
    (folder / "vocab.npy").write_bytes(held.getvalue())


def modules(folder: Path, canary: Canary) -> None:
    for name in MODULES:
        (folder / f"{name}.py").write_text(canary.code)


def a_pickle(folder: Path, canary: Canary) -> None:
    (folder / "vocab.pkl").write_bytes(pickled(canary.code))


def a_link(folder: Path, canary: Canary) -> None:
    (folder / "vocab.json").symlink_to(canary.secret(b'["s", "e", "c", "r", "t"]'))


Beside = Callable[[Path, Canary], object]
BESIDE: dict[str, tuple[str, str, Beside]] = {  # the rule, the file that --vocab names, what lies beside a good model
    "pickled_vocabulary": ("pickle", "vocab.pkl", a_pickle),
    "array_of_objects": ("pickle", "vocab.npy", array_of_objects),
    "array_of_a_terabyte": ("vocabulary-array", "vocab.npy", array_of_a_gigabyte),
    "pipe_beside_the_model": ("", "", lambda folder, _: os.mkfifo(folder / "vocab.txt")),
    "modules_beside_the_model": ("", "", modules),
    "vocabulary_that_is_a_link": ("", "", a_link),
}


def built(folder: Path, canary: Canary, beside: Beside) -> Path:
    beside(folder, canary)
    return keras_file(folder / "m.keras")


for _name, (_rule, _file, _beside) in BESIDE.items():
    _more = ("--vocab", f"{{folder}}/{_file}") if _file else ()
    _build = lambda folder, canary, beside=_beside: built(folder, canary, beside)  # noqa: E731
    Case(_name, _rule, _build, ("open", "{file}", *_more), late=True)
