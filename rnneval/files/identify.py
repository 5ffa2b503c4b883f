"""What a checkpoint is, told by its bytes; and in words, what it is when it is none."""

import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import h5py

from rnneval.errors import CheckpointError

FORMATS = "a .keras or .h5 file, or with --builder a .weights.h5 file or a TensorFlow checkpoint"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_PICKLES = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """A checkpoint on disk whose format is known."""

    path: Path
    """As given; for a TensorFlow checkpoint its prefix, without `.index`."""
    format: str
    """`keras`, `keras-h5`, `weights-h5`, `keras2-weights-h5`, `tf-checkpoint` or `saved-model`."""
    files: tuple[Path, ...]
    """Every file that holds a part of it."""

    @property
    def weights(self) -> Path:
        """Where its weights are: the prefix of a SavedModel's checkpoint, else itself."""
        return self.path / "variables" / "variables" if self.format == "saved-model" else self.path

    @property
    def sha256(self) -> str:
        """Of the file; of several, over their names and contents in the order of their names."""
        if len(self.files) == 1:
            return _sha256(self.files[0])
        whole = hashlib.sha256()
        for file in sorted(self.files):
            whole.update(f"{file.name}\0{_sha256(file)}\n".encode())
        return whole.hexdigest()


def identify(path: Path) -> Artefact:
    """Tell what a checkpoint is.

    Raises:
        CheckpointError: there is none, it cannot be read, it is damaged, or it is something else; the message says
            what it looks like and what can be given instead.
    """
    try:
        if path.is_dir():
            return _folder(path)
        if path.is_file():
            return _file(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    if Path(f"{path}.index").is_file():
        return _tensorflow(path)
    what = "neither a file nor a folder" if path.exists() else "no such file or folder"
    raise CheckpointError(f"{path}: {what}; a checkpoint is {FORMATS}")


def _folder(path: Path) -> Artefact:
    if (path / "saved_model.pb").is_file():
        if not (path / "variables" / "variables.index").is_file():
            raise CheckpointError(f"{path}: a SavedModel without variables/variables.index: the folder is not whole")
        variables = _tensorflow(path / "variables" / "variables")
        return Artefact(path=path, format="saved-model", files=(path / "saved_model.pb", *variables.files))
    if (path / "config.json").is_file() and (path / "model.weights.h5").is_file():
        raise CheckpointError(f"{path}: an unzipped .keras file; its parts could be exchanged: give the .keras file")
    prefixes = sorted(index.with_suffix("") for index in path.glob("*.index"))
    if not prefixes:
        held = ", ".join(sorted(child.name for child in path.iterdir())[:5]) or "nothing"
        raise CheckpointError(f"{path}: a folder without a checkpoint (it holds {held}); a checkpoint is {FORMATS}")
    return _tensorflow(_latest(path, prefixes))


def _latest(folder: Path, prefixes: list[Path]) -> Path:
    """The checkpoint that the folder's `checkpoint` file names; without it, the only one there is."""
    state = folder / "checkpoint"
    if state.is_file():
        for line in state.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            named = folder / Path(value.strip().strip('"')).name
            if key == "model_checkpoint_path" and named in prefixes:
                return named
    if len(prefixes) == 1:
        return prefixes[0]
    names = ", ".join(prefix.name for prefix in prefixes)
    raise CheckpointError(f"{folder}: holds {len(prefixes)} checkpoints ({names}): give one, such as {prefixes[-1]}")


def _tensorflow(prefix: Path) -> Artefact:
    index = Path(f"{prefix}.index")
    data = sorted(prefix.parent.glob(f"{_escaped(prefix.name)}.data-*-of-*"))
    if not index.is_file():
        raise CheckpointError(f"{prefix}: {index.name} is missing beside its data: the checkpoint is not whole")
    if not data:
        raise CheckpointError(
            f"{prefix}: {prefix.name}.data-… is missing beside {index.name}: the checkpoint is not whole"
        )
    count = int(data[0].name.rpartition("-of-")[2])
    if len(data) != count:
        raise CheckpointError(f"{prefix}: {len(data)} of {count} data files are there: the checkpoint is not whole")
    return Artefact(path=prefix, format="tf-checkpoint", files=(index, *data))


def _escaped(name: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def _file(path: Path) -> Artefact:
    if path.suffix == ".index":
        return _tensorflow(path.with_suffix(""))
    if ".data-" in path.name and "-of-" in path.name:
        return _tensorflow(path.with_name(path.name.rpartition(".data-")[0]))
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(_ZIP):
        return _keras(path)
    if head.startswith(_HDF5):
        return _hdf5(path)
    raise CheckpointError(f"{path}: {_looks_like(head)}; a checkpoint is {FORMATS}")


def _looks_like(head: bytes) -> str:
    if not head:
        return (
            "an empty file; Keras leaves one where saving failed, as it does for a subclassed model without get_config"
        )
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer and not the file itself: run git lfs pull"
    if head.startswith(_PICKLES):
        return "a pickle: reading one runs code, so it is never read"
    if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return "an HTML page: the download gave a page about the file instead of the file"
    try:
        head.decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return f"neither a zip nor an HDF5 file (it begins with {head[:4].hex(' ')})"
    return "a text file"


def _keras(path: Path) -> Artefact:
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(path, archive)
            damaged = archive.testzip()  # Keras does not look at the checksums: a flipped bit would be another model
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, ValueError, zlib.error) as error:
        raise CheckpointError(f"{path}: a damaged or truncated .keras file ({error}): copy or save it again") from error
    if damaged is not None:
        raise CheckpointError(f"{path}: {damaged} does not match its checksum: the file is damaged, copy it again")
    return Artefact(path=path, format="keras", files=(path,))


def _check_members(path: Path, archive: zipfile.ZipFile) -> None:
    names = archive.namelist()
    missing = {"config.json", "model.weights.h5"} - set(names)
    if missing:
        raise CheckpointError(f"{path}: a zip file without {' and '.join(sorted(missing))}: not a .keras file")
    known = {"config.json", "metadata.json", "model.weights.h5"}
    for name in names:
        inside = name in known or name.startswith("assets/")
        if not inside or ".." in name.split("/") or "\\" in name or names.count(name) > 1:
            raise CheckpointError(f"{path}: member {name!r} does not belong into a .keras file: refused")


def _hdf5(path: Path) -> Artefact:
    try:
        with h5py.File(path, "r") as file:
            attributes, groups = set(file.attrs), set(file)
    except (OSError, RuntimeError, ValueError, LookupError) as error:  # whatever h5py makes of broken names and links
        raise CheckpointError(f"{path}: a damaged or truncated HDF5 file ({error}): copy or save it again") from error
    if "model_config" in attributes:
        return Artefact(path=path, format="keras-h5", files=(path,))
    if not groups:
        raise CheckpointError(
            f"{path}: an HDF5 file that holds nothing: Keras leaves one where saving failed, as it does for a "
            "subclassed model: save its weights (model.save_weights('name.weights.h5')) and give --builder"
        )
    if attributes & {"layer_names", "layer_names0"}:
        return Artefact(path=path, format="keras2-weights-h5", files=(path,))
    return Artefact(path=path, format="weights-h5", files=(path,))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
