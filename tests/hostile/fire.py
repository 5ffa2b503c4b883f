"""Does the canary of a hostile file fire at all? The plain call that a rule forbids, in an environment of old releases.

    python -m tests.hostile.fire NAME FOLDER

builds one case and does to it what its case says (`fires`). Run by show_canaries.py, in a process for each case. Needs
no rnneval; wants an old Keras (3.8 or before), TensorFlow, tf_keras.
"""

import io
import json
import os
import pickle
import resource
import struct
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.hostile.canary import Canary, peak_memory
from tests.hostile.corpus import all_cases, build

_MOST_MEMORY = 12 << 30


def keras(model: Path, safe: bool = True) -> Any:
    import keras as package

    return package.models.load_model(model, safe_mode=safe, compile=False)


def keras_unsafe(model: Path) -> None:
    import numpy as np

    loaded = keras(model, safe=False)
    loaded(np.zeros((1, 1), "float32"))


def keras_here(model: Path) -> None:
    os.chdir(model.parent)
    sys.path.insert(0, "")
    keras(model)


def keras_called(model: Path) -> None:
    import numpy as np

    keras(model)(np.zeros((1, 1), "float32"))


def from_config(model: Path) -> None:
    import keras as package
    import numpy as np

    with zipfile.ZipFile(model) as archive:
        config = json.loads(archive.read("config.json"))["config"]["layers"][-1]
    package.layers.Lambda.from_config(config["config"])(np.zeros((1, 1), "float32"))


def tf_keras(model: Path) -> None:
    import numpy as np
    import tf_keras as package

    package.models.load_model(model, compile=False)(np.zeros((1, 1), "float32"))


def unpickled(model: Path) -> None:
    pickle.loads(model.read_bytes())  # noqa: S301 - on purpose, of our own file


def unpickled_member(model: Path) -> None:
    with zipfile.ZipFile(model) as archive:
        if "optimizer.pkl" in archive.namelist():
            pickle.loads(archive.read("optimizer.pkl"))  # noqa: S301
            return
        layers = json.loads(archive.read("config.json"))["config"]["layers"]
    pickle.loads(bytes.fromhex(layers[-1]["config"]["module"]))  # noqa: S301


def unpickled_sibling(model: Path) -> None:
    unpickled(model.parent / "vocab.pkl")


def numpy_pickles(model: Path) -> None:
    import numpy as np

    if model.suffix == ".keras" and not (model.parent / "vocab.npy").exists():
        with zipfile.ZipFile(model) as archive:
            np.load(io.BytesIO(archive.read("model.weights.npz")), allow_pickle=True)
        return
    np.load(model.parent / "vocab.npy", allow_pickle=True)


def numpy_plain(model: Path) -> None:
    import numpy as np

    np.load(io.BytesIO((model.parent / "vocab.npy").read_bytes()))[...] = "x"


def unpacked(model: Path) -> None:
    """As an unpacker does that takes names and links as they come."""
    target = model.parent / "out"
    with zipfile.ZipFile(model) as archive:
        for info in archive.infolist():
            place = os.path.join(target, info.filename)  # noqa: PTH118 - pathlib would not keep `..`
            os.makedirs(os.path.dirname(os.path.normpath(place)), exist_ok=True)  # noqa: PTH103, PTH120
            if info.external_attr >> 28 == 0o12:
                os.symlink(archive.read(info), place)  # noqa: PTH211
            else:
                with open(os.path.normpath(place), "wb") as file:  # noqa: PTH123
                    file.write(archive.read(info))


def read_whole(model: Path) -> None:
    with zipfile.ZipFile(model) as archive:
        kept = [archive.read(info) for info in archive.infolist()]
    assert kept


def read_by_members(model: Path) -> None:
    """As a reader does that streams: it meets the members' own headers, and never the directory."""
    raw, at = model.read_bytes(), 0
    while raw[at : at + 4] == b"PK\x03\x04":
        method, size, names, extra = (struct.unpack_from(f, raw, at + k)[0] for f, k in (("<H", 8), ("<L", 18), ("<H", 26), ("<H", 28)))  # fmt: skip  # noqa: E501
        name = raw[at + 30 : at + 30 + names]
        start = at + 30 + names + extra
        held = raw[start : start + size]
        if name == b"config.json":
            content = held if not method else zlib.decompress(held, -15)
            copy = model.parent / "streamed.keras"
            from tests.hostile.plain import keras_file

            keras_unsafe(keras_file(copy, content))
            return
        at = start + size


def walked(model: Path) -> None:
    """Every array by its path, as a reader does that calls itself."""
    import h5py

    def arrays(thing: Any) -> int:
        return sum(map(arrays, thing.values())) if isinstance(thing, h5py.Group) else 1

    arrays(h5_of(model))


def h5_of(model: Path) -> Any:
    import h5py

    if model.suffix != ".keras":
        return h5py.File(model, "r")
    with zipfile.ZipFile(model) as archive:
        (model.parent / "w.h5").write_bytes(archive.read("model.weights.h5"))  # from memory, links lead back into it
    return h5py.File(model.parent / "w.h5", "r")


def h5py_read(model: Path) -> None:
    import h5py

    def visit(group: Any) -> None:
        for name in group:
            if isinstance(group[name], h5py.Group):
                visit(group[name])
            else:
                _ = group[name][()]

    visit(h5_of(model))


def h5py_attributes(model: Path) -> None:
    dict(h5_of(model).attrs)


def parsed(model: Path) -> None:
    with zipfile.ZipFile(model) as archive:
        json.loads(archive.read("config.json"))


def exchanged(model: Path) -> None:
    """Look, then let the other side change it, then load: what was loaded is not what was looked at."""
    import keras as package

    from tests.hostile.plain import bytecode, layer, with_layers

    looked = (model / "config.json").read_bytes()
    canary = Canary(model.parent / "traps")
    bad = with_layers(layer("Lambda", function=bytecode(canary.code), arguments={}))
    (model / "config.json").write_text(json.dumps(bad))
    assert b"Lambda" not in looked
    import numpy as np

    package.models.load_model(model, safe_mode=False, compile=False)(np.zeros((1, 1), "float32"))


def opened_as_named(model: Path) -> None:
    state = model / "checkpoint"
    if model.is_file():
        (model.parent / "vocab.json").read_bytes()
    elif state.exists():
        named = state.read_text().split('"')[1]
        (model / f"{named}.index").read_bytes()
    else:
        (model / "c.data-00000-of-00001").read_bytes()


def waited(model: Path) -> None:
    pipe = model / "c.data-00000-of-00001" if model.is_dir() else model.parent / "vocab.txt"
    pipe.read_bytes()


def tensorflow(model: Path) -> None:
    import tensorflow as tf

    tf.train.load_checkpoint(str(model / "c")).get_tensor("kernel")


def tensorflow_called(model: Path) -> None:
    import tensorflow as tf

    tf.saved_model.load(str(model)).serve(tf.zeros([1, 1]))


def tensorflow_loaded(model: Path) -> None:
    import tensorflow as tf

    tf.saved_model.load(str(model))


def imported_here(model: Path) -> None:
    os.chdir(model.parent)
    sys.path.insert(0, "")
    __import__("keras_hub")


ROUTES: dict[str, Callable[[Path], Any]] = {
    "keras": keras,
    "keras, safe mode off": keras_unsafe,
    "keras, in the folder": keras_here,
    "keras, called": keras_called,
    "Lambda.from_config": from_config,
    "tf_keras": tf_keras,
    "pickle": unpickled,
    "pickle of the member": unpickled_member,
    "pickle of the sibling": unpickled_sibling,
    "numpy with pickles": numpy_pickles,
    "numpy": numpy_plain,
    "unpacked as named": unpacked,
    "unpacked with its links": unpacked,
    "read whole": read_whole,
    "read by the members' own headers": read_by_members,
    "walked by its names": walked,
    "h5py": h5py_read,
    "h5py attributes": h5py_attributes,
    "json.loads": parsed,
    "exchanged after the look": exchanged,
    "opened as named": opened_as_named,
    "opened and waited for": waited,
    "tensorflow": tensorflow,
    "tensorflow, called": tensorflow_called,
    "tensorflow, loaded": tensorflow_loaded,
    "imported in the folder": imported_here,
}


def main() -> None:
    """Build, fire, and say as JSON what the canary saw."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    found = all_cases()[name]
    model, canary = build(name, folder)
    canary.memory = peak_memory()
    said: list[str] = []

    def fire() -> None:
        try:
            ROUTES[found.fires](model)
        except BaseException as error:
            said.append(f"{type(error).__name__}: {' '.join(str(error).split())[-400:]}")

    thread = threading.Thread(target=fire, daemon=True)
    thread.start()
    thread.join(45)
    seen = canary.fired()
    if not seen and thread.is_alive():
        seen = "it never ended"
    if not seen and any(one.startswith(("MemoryError", "RecursionError", "ResourceExhaustedError")) for one in said):
        seen = said[0].partition(":")[0]
    sys.stdout.write("\n" + json.dumps({"fired": seen, "said": said[0] if said else ""}) + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
