"""Rules on the structure of a zip, the container of a `.keras` file.

Each function is a rule. It yields one message for each problem, its docstring is its help page, and `advice` follows
each message (`rnneval.files.rules`).
"""

from collections import Counter
from collections.abc import Iterator

from rnneval.files.rules import rule
from rnneval.files.zips import Zip

_ENCRYPTED = 0x1 | 0x40 | 0x2000  # flags of a member: encrypted, strongly encrypted, encrypted directory
_STORED, _DEFLATED = 0, 8  # numbers of the methods of packing
_KIND, _FILE, _FOLDER = 0o170000, 0o100000, 0o040000  # of a Unix mode: the bits of the kind, a plain file, a folder
_NEEDED = ("config.json", "model.weights.h5")
_KNOWN = {*_NEEDED, "metadata.json"}
_MAX_RATIO = 100  # unpacked by packed bytes
_BOMB_MIN_BYTES = 1 << 16  # unpacked bytes up to which the ratio does not matter
_MAX_BYTES = {"config.json": 1 << 24, "metadata.json": 1 << 20, "model.weights.h5": 1 << 34}
_MAX_ASSET_BYTES = 1 << 28  # of one asset, and of all assets


@rule(about="zip", order=110, advice="no Keras writes this: do not trust the file")
def zip_layout(archive: Zip) -> Iterator[str]:
    """The zip contradicts itself, or holds bytes that belong to none of its members.

    ## What it refuses
    Members whose own header differs from the central directory (name, method, flags, sizes, checksum), that overlap or
    leave gaps; bytes before the first member or after the end; sizes beyond the file (zip64 too); a central directory
    of over 10,000 members or 8 MB, more than any model has.

    ## Why
    Two programs would read two different models out of one file, and the loaded model would not be the checked one.
    Small zip bombs are made of overlapping members.

    ## What to do
    Do not trust the file. If it is your own, save the model again with Keras.

    ## References
    - D. Fifield: *A better zip bomb*. WOOT 2019.
    - CWE-436, interpretation conflict.
    """
    yield from archive.disagreements


@rule(about="zip", order=120, advice="a model has no such member: do not trust the file")
def zip_traversal(archive: Zip) -> Iterator[str]:
    """A member of the zip would be unpacked outside of its folder.

    ## What it refuses
    Names with `..`, absolute names, drive letters, backslashes, control characters.

    ## Why
    Unpacked, such a member overwrites a file of yours; Keras unpacks assets.

    ## What to do
    Do not trust the file. Nothing was unpacked.

    ## References
    - CVE-2025-12060 (Keras' `get_file`), CVE-2007-4559: traversal by unpacking.
    """
    for member in archive.members:
        name = member.name
        if ".." in name.split("/") or name.startswith("/") or "\\" in name or ":" in name or not name.isprintable():
            yield f"member {name!r} has an unsafe name"


@rule(about="zip", order=130, advice="a model has no such member: do not trust the file")
def zip_link(archive: Zip) -> Iterator[str]:
    """A member of the zip is a link or a device.

    ## What it refuses
    Members that Unix would unpack as anything but a file or a folder.

    ## Why
    A link points to a file of yours, which would be read or written in its place.

    ## What to do
    Do not trust the file.

    ## References
    - CWE-59.
    """
    # Unix keeps the kind of a file in the upper half of the external attributes.
    for member in archive.members:
        if member.mode & _KIND not in {0, _FILE, _FOLDER}:
            yield f"member {member.name!r} is no plain file (mode {member.mode:o})"


@rule(about="zip", order=140, advice="a model has each member once: do not trust the file")
def zip_duplicate(archive: Zip) -> Iterator[str]:
    """A name occurs twice in the zip.

    ## What it refuses
    The same name twice, also where only capitals differ.

    ## Why
    One program takes the first, another the last: the loaded member would not be the checked one.

    ## What to do
    Do not trust the file.

    ## References
    - CWE-694.
    """
    # Some file systems do not tell capitals from small letters.
    counts = Counter(member.name.casefold() for member in archive.members)
    for name, count in counts.items():
        if count > 1:
            yield f"member {name!r} occurs {count} times"


@rule(about="zip", order=150, advice="give the file as Keras saved it")
def zip_members(archive: Zip) -> Iterator[str]:
    """The zip has members that no `.keras` file has, or lacks one that all have.

    ## What it refuses
    Anything but `config.json`, `metadata.json`, `model.weights.h5` and `assets/…`; a zip without the first or the
    third.

    ## Why
    A foreign member has no place in a model: another program could run a pickle or a script that lies in the zip.

    ## What to do
    Give the file as Keras saved it. Weights as `.npz` are not read: save them as `.h5`.
    """
    # Missing members come first: without them it is another kind of zip.
    names = {member.name for member in archive.members}
    if names and all(name.endswith(".npy") for name in names):
        yield "a NumPy archive (.npz): arrays, and nothing that says of which model"
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        yield f"a zip file without {' and '.join(missing)}: not a .keras file"
    for name in names:
        if name not in _KNOWN and not name.startswith("assets/"):
            yield f"member {name!r} does not belong in a .keras file"


@rule(about="zip", order=160, advice="give the file as Keras saved it")
def zip_encrypted(archive: Zip) -> Iterator[str]:
    """A member of the zip is encrypted, or packed in a way that is not read.

    ## What it refuses
    Encrypted members, and methods other than *stored* and *deflated*.

    ## Why
    A member that cannot be read cannot be checked. LZMA and bzip2 allow far higher ratios than deflate.

    ## What to do
    Unpack and zip it again, plain.
    """
    for member in archive.members:
        if member.flags & _ENCRYPTED:
            yield f"member {member.name!r} is encrypted"
        elif member.method not in {_STORED, _DEFLATED}:
            yield f"member {member.name!r} is packed by method {member.method}, neither stored nor deflated"


@rule(about="zip", order=170, advice="a model does not shrink like this: do not trust the file")
def zip_bomb(archive: Zip) -> Iterator[str]:
    """The zip would unpack into far more than it holds.

    ## What it refuses
    A member of more than 64 kB that is over 100 times as large as its packed bytes; over 16 MB of configuration, 1 MB
    of metadata, 256 MB of assets, 16 GB of weights.

    ## Why
    Trained weights hardly shrink when they are packed. A few kilobytes that become gigabytes fill memory or disk.

    ## What to do
    Do not trust the file.

    ## References
    - CWE-409.
    """
    # The sizes are those that the directory declares; more is never unpacked.
    for member in archive.members:
        if member.size > _BOMB_MIN_BYTES and member.size > _MAX_RATIO * member.stored:
            yield f"member {member.name!r} unpacks {member.stored:,} bytes into {member.size:,}"
        elif member.size > _MAX_BYTES.get(member.name, _MAX_ASSET_BYTES):
            yield f"member {member.name!r} has {member.size:,} bytes"
    assets = sum(member.size for member in archive.members if member.name not in _MAX_BYTES)
    if assets > _MAX_ASSET_BYTES:
        yield f"its assets have {assets:,} bytes"


@rule(about="zip-content", order=180, advice="the file is damaged, copy it again")
def zip_checksum(damaged: tuple[str, ...]) -> Iterator[str]:
    """A member does not match its checksum.

    ## What it refuses
    Any member whose CRC-32 is not the one that the zip has for it.

    ## Why
    Keras does not compare it: with Python 3.13, four of four `.keras` files with a flipped bit in the weights loaded
    without a warning, as another model.

    ## What to do
    Copy the file again from an undamaged place.
    """
    # The names come from `rnneval.files.zips.damaged_members`, which compares the CRC-32 of every member.
    for name in damaged:
        yield f"{name} does not match its checksum"
