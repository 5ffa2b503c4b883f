"""HDF5 files whose arrays lie elsewhere, or are larger than what is stored."""

import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from tests.hostile.canary import Canary
from tests.hostile.corpus import Case
from tests.hostile.plain import UNITS, WIDTH, keras_file, weights

KERNEL = "layers/dense/vars/0"
Edit = Callable[[h5py.File, Canary], None]


def secret_model(canary: Canary) -> Path:
    """An HDF5 file of yours, with a kernel that would fit."""
    path = canary.folder / "secret.h5"
    with h5py.File(path, "w") as file:
        file["0"] = np.ones((UNITS, WIDTH), "float32")
        file["1"] = np.ones((WIDTH,), "float32")
    return canary.secret(path.read_bytes(), "secret.h5")


def linked(name: str, link: Callable[[Canary], object]) -> Edit:
    def edit(file: h5py.File, canary: Canary) -> None:
        del file[name]
        file[name] = link(canary)

    return edit


def declared(**how: object) -> Edit:
    """The kernel is made in another way."""

    def edit(file: h5py.File, canary: Canary) -> None:
        del file[KERNEL]
        file.create_dataset(KERNEL, **{"dtype": "float32", **how})

    return edit


def again(file: h5py.File, canary: Canary) -> None:
    file["layers/again"] = file["layers"]


def external(file: h5py.File, canary: Canary) -> None:
    """The numbers are the bytes of another file."""
    secret = canary.secret(bytes(4 * UNITS * WIDTH))
    declared(shape=(UNITS, WIDTH), external=[(str(secret), 0, 4 * UNITS * WIDTH)])(file, canary)


def virtual(file: h5py.File, canary: Canary) -> None:
    """The weight is put together from an array of another file."""
    del file[KERNEL]
    layout = h5py.VirtualLayout((UNITS, WIDTH), "float32")
    layout[:] = h5py.VirtualSource(str(secret_model(canary)), "0", (UNITS, WIDTH))
    file.create_virtual_dataset(KERNEL, layout)


def huge_chunk(file: h5py.File, canary: Canary) -> None:
    """A weight of four numbers in one packed chunk of 800 MB."""
    del file[KERNEL]
    how = {"maxshape": (None,), "chunks": (200 << 20,), "compression": "gzip"}
    dataset = file.create_dataset(KERNEL, (4,), "float32", **how)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)) * 800 + packer.flush()
    check = 1
    for _ in range(800):
        check = zlib.adler32(bytes(1 << 20), check)
    dataset.id.write_direct_chunk((0,), b"\x78\x9c" + packed + check.to_bytes(4, "big"))


EDITS: dict[str, tuple[str, Edit]] = {
    "external_link_of_an_array": (
        "hdf5-link", linked(KERNEL, lambda canary: h5py.ExternalLink(str(secret_model(canary)), "/0"))
    ),
    "soft_link": ("hdf5-link", linked("layers/dense/vars/1", lambda _: h5py.SoftLink("/layers/gru/cell/vars/2"))),
    "group_in_itself": ("hdf5-link", again),
    "external_storage": ("hdf5-external", external),
    "virtual_storage": ("hdf5-virtual", virtual),
    "huge_shape": ("hdf5-bomb", declared(shape=(1 << 15, 1 << 14), chunks=(1 << 10, 1 << 10), compression="gzip")),
    "huge_chunk": ("hdf5-bomb", huge_chunk),
    "rare_filter": ("hdf5-filter", declared(data=np.ones((UNITS, WIDTH), "float32"), compression="lzf")),
    "texts_as_weights": ("hdf5-type", declared(data=["a"] * 28, dtype=h5py.string_dtype())),
    "groups_a_thousand_deep": ("hdf5-bomb", lambda file, _: file.create_group("/".join("g" * 1000))),
}  # fmt: skip


def edited(folder: Path, canary: Canary, edit: Edit) -> Path:
    path = keras_file(folder / "m.keras", stored=weights(lambda file: edit(file, canary)))
    for secret in canary.folder.glob("secret*"):  # making the file may have read it
        canary.secret(secret.read_bytes(), secret.name)
    return path


for _name, (_rule, _edit) in EDITS.items():
    Case(_name, _rule, lambda folder, canary, edit=_edit: edited(folder, canary, edit))


def one_text_a_million_times(folder: Path, canary: Canary) -> Path:
    """An attribute of 2,000 texts, all of which are one text of 1 MB in the file."""
    path = folder / "m.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"dense"]
        file.create_group("dense").attrs["weight_names"] = []
        file.attrs.create("long", "x" * (1 << 20), dtype=h5py.string_dtype())
        file.attrs.create("names", ["y" * 5] * 2000, dtype=h5py.string_dtype())
    raw = path.read_bytes()
    # HDF5 refers to a text by its length, the address of a heap, and its number there: 4, 8 and 4 bytes.
    long = next(at for at in places(raw, 1 << 20) if raw[heap(raw, at) : heap(raw, at) + 4] == b"GCOL")
    mark = (5).to_bytes(4, "little")
    start = next(at for at in places(raw, 5) if all(raw[at + 16 * k :][:4] == mark for k in range(2000)))
    path.write_bytes(raw[:start] + raw[long : long + 16] * 2000 + raw[start + 16 * 2000 :])
    return path


def places(raw: bytes, length: int) -> list[int]:
    """Where the number stands."""
    mark, found = length.to_bytes(4, "little"), [-1]
    while (at := raw.find(mark, found[-1] + 1)) >= 0:
        found.append(at)
    return found[1:]


def heap(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at + 4 : at + 12], "little")


Case("one_text_a_million_times", "hdf5-attribute", one_text_a_million_times)
