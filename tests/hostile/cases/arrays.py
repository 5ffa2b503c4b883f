"""HDF5 files whose arrays lie elsewhere, or are larger than what is stored."""

import zlib
from pathlib import Path

import h5py
import numpy as np

from tests.hostile.canary import Canary
from tests.hostile.corpus import case
from tests.hostile.plain import UNITS, WIDTH, keras_file, weights

KERNEL = "layers/dense/vars/0"


def secret_model(canary: Canary) -> Path:
    """An HDF5 file of yours, with a kernel that would fit."""
    path = canary.folder / "secret.h5"
    with h5py.File(path, "w") as file:
        file["0"] = np.ones((UNITS, WIDTH), "float32")
        file["1"] = np.ones((WIDTH,), "float32")
    return canary.secret(path.read_bytes(), "secret.h5")


def with_link(folder: Path, name: str, link: object) -> Path:
    def edit(file: h5py.File) -> None:
        del file[name]
        file[name] = link

    return keras_file(folder / "m.keras", stored=weights(edit))


@case("hdf5-link", "h5py", "CVE-2026-1669", "CVE-2026-12480")
def external_link_of_a_group(folder: Path, canary: Canary) -> Path:
    """A group of weights that is a link into another file."""
    return with_link(folder, "layers/dense/vars", h5py.ExternalLink(str(secret_model(canary)), "/"))


@case("hdf5-link", "h5py", "CVE-2026-1669")
def external_link_of_an_array(folder: Path, canary: Canary) -> Path:
    """A weight that is a link into another file."""
    return with_link(folder, KERNEL, h5py.ExternalLink(str(secret_model(canary)), "/0"))


@case("hdf5-link", "none: it stays inside of the file; what it hides is which weight is meant")
def soft_link(folder: Path, canary: Canary) -> Path:
    """A weight that is a soft link to another."""
    return with_link(folder, "layers/dense/vars/1", h5py.SoftLink("/layers/gru/cell/vars/2"))


@case("hdf5-link", "walked by its names")
def group_in_itself(folder: Path, canary: Canary) -> Path:
    """A group that holds itself by a hard link: its paths never end."""

    def edit(file: h5py.File) -> None:
        file["layers/again"] = file["layers"]

    return keras_file(folder / "m.keras", stored=weights(edit))


@case("hdf5-external", "keras", "CVE-2026-1669")
def external_storage(folder: Path, canary: Canary) -> Path:
    """A weight whose numbers are the bytes of another file."""
    secret = canary.secret(bytes(4 * UNITS * WIDTH))

    def edit(file: h5py.File) -> None:
        del file[KERNEL]
        file.create_dataset(KERNEL, (UNITS, WIDTH), "float32", external=[(str(secret), 0, 4 * UNITS * WIDTH)])

    path = keras_file(folder / "m.keras", stored=weights(edit))
    canary.secret()
    return path


@case("hdf5-external", "h5py", "CVE-2026-1669", arguments=("open", "{file}", "--builder", "{folder}/none.py:Model"))
def external_storage_in_weights(folder: Path, canary: Canary) -> Path:
    """The same in a `.weights.h5` file, with a builder that is never asked for."""
    external_storage(folder, canary)
    import zipfile

    with zipfile.ZipFile(folder / "m.keras") as archive:
        (folder / "m.weights.h5").write_bytes(archive.read("model.weights.h5"))
    (folder / "m.keras").unlink()
    return folder / "m.weights.h5"


@case("hdf5-virtual", "h5py", "CVE-2026-1669", "CVE-2026-12480")
def virtual_storage(folder: Path, canary: Canary) -> Path:
    """A weight that is put together from an array of another file."""
    secret = secret_model(canary)

    def edit(file: h5py.File) -> None:
        del file[KERNEL]
        layout = h5py.VirtualLayout((UNITS, WIDTH), "float32")
        layout[:] = h5py.VirtualSource(str(secret), "0", (UNITS, WIDTH))
        file.create_virtual_dataset(KERNEL, layout)

    path = keras_file(folder / "m.keras", stored=weights(edit))
    canary.secret(secret.read_bytes(), secret.name)
    return path


def declaring(folder: Path, **declared: object) -> Path:
    """A kernel that declares another shape; nothing is written into it."""

    def edit(file: h5py.File) -> None:
        del file[KERNEL]
        file.create_dataset(KERNEL, dtype="float32", **declared)

    return keras_file(folder / "m.keras", stored=weights(edit))


@case("hdf5-bomb", "keras", "CVE-2026-0897")
def huge_shape(folder: Path, canary: Canary) -> Path:
    """A weight of 2 GB by its shape, of which nothing is stored."""
    return declaring(folder, shape=(1 << 15, 1 << 14), chunks=(1 << 10, 1 << 10), compression="gzip")


@case("hdf5-bomb", "h5py", "CVE-2026-0897")
def huge_shape_in_h5(folder: Path, canary: Canary) -> Path:
    """The same in an `.h5` file of Keras 2."""
    path = folder / "m.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"dense"]
        group = file.create_group("dense")
        group.attrs["weight_names"] = [b"kernel:0"]
        group.create_dataset("kernel:0", (1 << 15, 1 << 14), "float32", chunks=True)
    return path


@case("hdf5-bomb", "h5py")
def huge_chunk(folder: Path, canary: Canary) -> Path:
    """A weight of four numbers in one packed chunk of 800 MB."""

    def edit(file: h5py.File) -> None:
        del file[KERNEL]
        dataset = file.create_dataset(
            KERNEL, (4,), "float32", maxshape=(None,), chunks=(200 << 20,), compression="gzip"
        )
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)) * 800 + packer.flush()
        check = 1
        for _ in range(800):
            check = zlib.adler32(bytes(1 << 20), check)
        packed = b"\x78\x9c" + packed + check.to_bytes(4, "big")
        dataset.id.write_direct_chunk((0,), packed)

    return keras_file(folder / "m.keras", stored=weights(edit))


@case("hdf5-filter", "none: a filter that is not installed is looked for in HDF5_PLUGIN_PATH, which a file cannot set")
def rare_filter(folder: Path, canary: Canary) -> Path:
    """A weight that is packed by lzf."""

    def edit(file: h5py.File) -> None:
        del file[KERNEL]
        file.create_dataset(KERNEL, data=np.ones((UNITS, WIDTH), "float32"), compression="lzf")

    return keras_file(folder / "m.keras", stored=weights(edit))


@case("hdf5-type", "none: h5py makes texts of it, and Keras cannot use them")
def texts_as_weights(folder: Path, canary: Canary) -> Path:
    """A weight of texts of any length."""

    def edit(file: h5py.File) -> None:
        del file[KERNEL]
        file.create_dataset(KERNEL, data=["a"] * 28, dtype=h5py.string_dtype())

    return keras_file(folder / "m.keras", stored=weights(edit))


@case("hdf5-type", "none: a reference is only followed by who asks for it")
def references_as_weights(folder: Path, canary: Canary) -> Path:
    """A weight of references to other objects."""

    def edit(file: h5py.File) -> None:
        del file[KERNEL]
        file.create_dataset(KERNEL, (2,), h5py.ref_dtype)[0] = file["layers"].ref

    return keras_file(folder / "m.keras", stored=weights(edit))


@case("hdf5-bomb", "none: HDF5 walks it in a loop of its own; a reader that calls itself would stop at 1,000")
def groups_a_thousand_deep(folder: Path, canary: Canary) -> Path:
    """A thousand groups in one another."""

    def edit(file: h5py.File) -> None:
        file.create_group("/".join("g" * 1000))

    return keras_file(folder / "m.keras", stored=weights(edit))


@case("hdf5-attribute", "h5py attributes")
def one_text_a_million_times(folder: Path, canary: Canary) -> Path:
    """An attribute of 2,000 texts, all of which are one text of 1 MB in the file."""
    path = folder / "m.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"dense"]
        file.create_group("dense").attrs["weight_names"] = []
        file.attrs.create("long", "x" * (1 << 20), dtype=h5py.string_dtype())
        file.attrs.create("names", ["y" * 5] * 2000, dtype=h5py.string_dtype())
    raw = path.read_bytes()
    (length, where, number) = _reference(raw, 1 << 20)
    one = length.to_bytes(4, "little") + where.to_bytes(8, "little") + number.to_bytes(4, "little")
    start = _row(raw, 5, 2000)
    path.write_bytes(raw[:start] + one * 2000 + raw[start + 16 * 2000 :])
    return path


def _reference(raw: bytes, length: int) -> tuple[int, int, int]:
    """Length, address of the heap and number of the text: how HDF5 refers to it, found by its length."""
    at = where_of(raw, length) - 4
    return length, int.from_bytes(raw[at + 4 : at + 12], "little"), int.from_bytes(raw[at + 12 : at + 16], "little")


def where_of(raw: bytes, length: int) -> int:
    """Behind the length, in a reference whose address is that of a heap."""
    mark, at = length.to_bytes(4, "little"), -1
    while (at := raw.find(mark, at + 1)) >= 0:
        heap = int.from_bytes(raw[at + 4 : at + 12], "little")
        if raw[heap : heap + 4] == b"GCOL":
            return at + 4
    raise AssertionError(length)


def _row(raw: bytes, length: int, count: int) -> int:
    """Where so many references to texts of this length follow one another."""
    mark, at = length.to_bytes(4, "little"), -1
    while (at := raw.find(mark, at + 1)) >= 0:
        if all(raw[at + 16 * k : at + 16 * k + 4] == mark for k in range(count)):
            return at
    raise AssertionError(count)
