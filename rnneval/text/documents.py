"""Files → documents: texts from the disk or from memory, decoded, cut to a part, rewritten and divided.

The final text is what is scored: every hash, count and offset of a record is of it, but for the hashes of the files.
"""

import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise, product
from math import floor
from pathlib import Path

from rnneval.errors import RnnevalError, TextError, UsageError, is_plainly_text, named_in_message
from rnneval.option import values_of
from rnneval.options import PathLike, Paths, TextGroup
from rnneval.paths import open_regular, reason_of

MOST_STREAMED_BYTES = 1 << 28  # most bytes of a text from a pipe, which may have no end and would fill the memory
_CHANCE = 100  # characters: a shorter text may stand in another one by chance
_DIGITS = "[0-9]{1,18}"
_BOUND = rf"-?(?:{_DIGITS}|{_DIGITS}\.?%|(?:{_DIGITS})?\.{_DIGITS}%)"
_SPEC = re.compile(rf"({_BOUND})?:({_BOUND})?")
_BLANK_LINES = re.compile(r"\n\s*\n")
"""From the end of a line that has text to the end of the last blank line after it: `\\s` is what `str.isspace` is."""
_MAGICS = {
    b"version https://git-lfs": "is a Git LFS pointer, not the text itself: fetch it with git lfs pull",
    b"\xff\xfe": "is UTF-16: convert it with iconv -f UTF-16 -t UTF-8",
    b"\xfe\xff": "is UTF-16: convert it with iconv -f UTF-16 -t UTF-8",
    b"\x1f\x8b": "is compressed by gzip: unpack it first (gunzip)",
    b"PK\x03\x04": "is a zip archive (a .keras model is one): give the checkpoint first, then text files",
    b"\x89HDF": "is an HDF5 file: give the checkpoint first, then text files",
}
"""First bytes of files that are no text."""


@dataclass(frozen=True, kw_only=True)
class InMemory:
    """A text in memory. It is read as a file that holds its UTF-8 bytes."""

    text: str


def text_given(paths: Paths | None, string: str | None) -> Paths | InMemory:
    """Return the one text that was given: files, or a string."""
    if string is None:
        if paths is None:
            raise UsageError("no text was given: name at least one UTF-8 file, or give string=… for text in memory")
        return paths
    if paths is not None:
        raise UsageError("both files and string=… were given as the text: give one of them")
    if not isinstance(string, str):
        raise UsageError(f"string is a {type(string).__name__}, a str is needed: decode bytes, join lists")
    if not is_plainly_text(string) and Path(string).is_file():
        raise UsageError(f"the text in memory {string!r} is the name of a file: give it as the file to read")
    try:
        string.encode()
    except UnicodeEncodeError as error:
        said = f"character {string[error.start]!r} at position {error.start:,} has no UTF-8 bytes"
        raise TextError(f"the text in memory: {said}: decode the text without surrogateescape") from error
    return InMemory(text=string)


class TextOptions(TextGroup):
    """Options by which files become a final text and its tokens: those of a text of `rnneval.evaluate`.

    Raises:
        UsageError: a value that is not one of those allowed.

    >>> TextOptions(part="90%:").signature_part("char")
    'tok:char|norm:none|newlines:keep|unk:error|docs:one'
    """

    part_option: str = "--part"
    """The option that gave `part`, for messages."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.part_of(0)
        if not self.unknown:
            raise UsageError("--unknown is empty: give error, skip, or a token of the vocabulary such as '<unk>'")

    @classmethod
    def of(cls, options: TextGroup) -> "TextOptions":
        """Take the options of a text from those of a function that reads one."""
        return cls(**values_of(TextGroup, options))

    def part_of(self, characters: int) -> range:
        """Return the range of the part in a text of so many characters; per cents are rounded down."""
        part = ":" if self.part is None else self.part
        match = _SPEC.fullmatch(part.strip())
        if match is None:
            advice = "give START:STOP in characters or per cent, such as"
            such_as = "90%:, :90%, 10%:20%, 99.5%:, -10%:, 100:200 or -1000: (no step)"
            raise UsageError(f"{self.part_option} {part!r} is not a slice: {advice} {such_as}")
        bounds = [  # exactly, since 0.29 · 100 is not 29 in floating point
            None if bound is None else floor(Fraction(bound.rstrip("%")) * (characters if "%" in bound else 100) / 100)
            for bound in match.groups()
        ]
        return range(characters)[slice(*bounds)]

    def signature_part(self, token_kind: str) -> str:
        """Return the fields of the signature that tell about the text; `token_kind` is such as `word+eos`."""
        unknown = self.unknown.replace("|", "%7C")  # the bar separates the fields of a signature
        return f"tok:{token_kind}|norm:{self.normalize}|newlines:{self.newlines}|unk:{unknown}|docs:{self.documents}"


@dataclass(frozen=True, kw_only=True)
class TakenFile:
    """A file of a text, and which of its characters belong to the text (all of them without `--part`)."""

    path: str  # "" for a text in memory
    sha256: str  # hash of the raw bytes
    characters: range
    text: str = field(repr=False)  # these characters, before they are rewritten


@dataclass(frozen=True, kw_only=True)
class FinalText:
    """The text that is scored."""

    name: str  # name of the text in messages
    documents: list[str] = field(repr=False)  # none is empty
    files: tuple[TakenFile, ...]  # the files, each with its characters that are part of the text
    raw: list[str] = field(repr=False)  # the characters of each file, before a part of them is taken and rewritten
    share: float  # share of the characters of the files that is part of the text: 1 without `--part`
    warnings: tuple[tuple[str, str], ...]  # code and message of what a reader of the scores should know
    options: TextOptions

    @property
    def sha256(self) -> str:
        """Hash of the final text in UTF-8, documents end to end."""
        digest = hashlib.sha256()
        for document in self.documents:
            digest.update(document.encode())
        return digest.hexdigest()

    def place(self, character: int) -> str:
        """Name the place of a character of the final text: in its file, unless the text was rewritten."""
        if self.options.normalize != "none" or self.options.newlines != "keep":
            before = "".join(self.documents)[:character]
            return f"{place_after(before)} of the text after --normalize and --newlines"
        for file, raw in zip(self.files, self.raw, strict=True):
            if character < len(file.characters):
                of = f" of {file.path}" if len(self.files) > 1 else ""
                return f"{place_after(raw[: file.characters.start + character])}{of}"
            character -= len(file.characters)
        raise IndexError(character)


def place_after(text: str) -> str:
    """Name the place after a text: the offset from 0, line and column from 1."""
    line, column = text.count("\n") + 1, len(text) - text.rfind("\n")
    return f"character offset {len(text):,}, line {line:,}, column {column:,}"


def final_text(text_or_paths: Paths | InMemory, options: TextOptions | None = None) -> FinalText:
    """Read files, joined with nothing between, as one text: take a part, rewrite it, and divide it into documents."""
    options = options or TextOptions()
    sources = [text_or_paths] if isinstance(text_or_paths, str | os.PathLike | InMemory) else [*text_or_paths]
    if not sources:
        raise UsageError("no text was given: name at least one UTF-8 file")
    names = ["the text in memory" if isinstance(source, InMemory) else os.fspath(source) for source in sources]
    name = names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")
    files = [_read(source, name) for source, name in zip(sources, names, strict=True)]
    total = sum(len(text) for text, _, _ in files)
    wanted, place, taken = options.part_of(total), 0, []
    for source, (text, sha256, _) in zip(sources, files, strict=True):
        inside = range(len(text))[max(wanted.start - place, 0) : max(wanted.stop - place, 0)]
        path = "" if isinstance(source, InMemory) else os.fspath(source)
        taken.append(TakenFile(path=path, sha256=sha256, characters=inside, text=text[inside.start : inside.stop]))
        place += len(text)
    parts = [file.text for file in taken]
    documents = _documents(parts, options)
    if not documents:
        part = f"{options.part_option} {options.part} of {total:,} characters is empty: give a part that holds"
        said = f"{part} at least 2 tokens" if total else "the text is empty, at least 2 tokens are needed"
        raise TextError(f"{name}: {said}")
    marked = [name for name, (_, _, mark) in zip(names, files, strict=True) if mark]
    return FinalText(
        name=name,
        documents=documents,
        files=tuple(taken),
        raw=[text for text, _, _ in files],
        share=sum(map(len, parts)) / total,
        warnings=tuple(("bom", f"{name}: a byte-order mark was dropped") for name in marked),
        options=options,
    )


def _documents(texts: list[str], options: TextOptions) -> list[str]:
    """Rewrite the texts of the files, and divide them into documents."""
    if options.documents != "file":
        texts = ["".join(texts)]
    if options.newlines == "lf":
        texts = [text.replace("\r\n", "\n").replace("\r", "\n") for text in texts]
    if options.normalize == "lower":
        texts = [text.lower() for text in texts]
    if options.normalize == "nfc":
        texts = [unicodedata.normalize("NFC", text) for text in texts]
    if options.documents == "blank-line":  # a line with text that follows blank lines starts one, but not the first
        whole = texts[0].rstrip()
        first_text = len(whole) - len(whole.lstrip())
        starts = (blank.end() for blank in _BLANK_LINES.finditer(whole) if blank.start() >= first_text)
        texts = [texts[0][start:stop] for start, stop in pairwise([0, *starts, len(texts[0])])]
    return [text for text in texts if text]


def refuse_overlap(fitted: Iterable[TakenFile], scored: Sequence[TakenFile]) -> None:
    """Refuse a baseline that is fitted on characters that are scored: in the same file, a copy, or a piece of it."""
    for file in fitted:
        for other in scored:
            start = max(file.characters.start, other.characters.start)
            stop = min(file.characters.stop, other.characters.stop)
            core = other.text.strip()
            if (file.sha256 != other.sha256 or start >= stop) and len(core) >= _CHANCE and core in file.text:
                start = file.characters.start + file.text.index(core)
                stop = start + len(core)
            elif file.sha256 != other.sha256 or start >= stop:
                continue
            raise UsageError(
                f"--fit-on {file.path or 'the text in memory'}: characters {start:,} to {stop - 1:,} are scored "
                "too, so the baseline would know the held-out text: give another text, or another part of it "
                "(--fit-part, such as :90%)"
            )


def _read(source: InMemory | PathLike, name: str) -> tuple[str, str, bool]:
    """Return a file's text, the hash of its bytes, and whether a byte-order mark was dropped."""
    raw = source.text.encode() if isinstance(source, InMemory) else _bytes(os.fspath(source))
    text = decoded(raw, name, TextError)
    return text.removeprefix("\ufeff"), hashlib.sha256(raw).hexdigest(), text.startswith("\ufeff")


def decoded(raw: bytes, name: str, refusal: type[RnnevalError]) -> str:
    """Decode the bytes of a file, or refuse them."""
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        said = f"not UTF-8: byte 0x{raw[error.start]:02X} at offset {error.start:,} ({error.reason})"
        raise refusal(f"{name}: {said}: convert it, such as with iconv -f WINDOWS-1252 -t UTF-8") from error


def _bytes(path: str) -> bytes:
    """Read a file, or a pipe that the shell opened, unless its first bytes say that it is something else."""
    try:
        with open_regular(path, stream=True) as file:
            start, stream = file.peek(32), not stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            if said := next((said for magic, said in _MAGICS.items() if start.startswith(magic)), None):
                raise TextError(f"{path}: {said}; a UTF-8 text is needed")
            raw = file.read(MOST_STREAMED_BYTES + 1 if stream else -1)
    except (OSError, ValueError) as error:
        raise TextError(_unreadable(path, error)) from (None if is_plainly_text(path) else error)
    if stream and len(raw) > MOST_STREAMED_BYTES:
        raise TextError(f"{path}: more than {MOST_STREAMED_BYTES:,} bytes from a pipe: write the text to a file first")
    return raw


def _unreadable(path: str, error: Exception) -> str:
    if is_plainly_text(path) and not os.path.lexists(path):
        said = "no such file; it looks like the text itself: give a file's path, or in Python string=… for a text"
        return f"{named_in_message(path)}: {said}, and fit_string=… for a training text"
    if isinstance(error, FileNotFoundError):
        return f"{path}: no such file: give the path of a UTF-8 text, from {Path.cwd()} or absolute"
    if isinstance(error, IsADirectoryError):
        return f"{path}: is a folder, a text file is needed: name its files, such as {Path(path) / '*.txt'}"
    return f"{path}: cannot be read: {reason_of(error)}: a readable UTF-8 text file is needed"


def scored_text(text_or_paths: Paths | InMemory, sha256: str | None, part: str | None = None) -> str:
    """Read the text with the normalization that gives the hash of the scored text."""
    for normalize, newlines in product(("none", "lower", "nfc"), ("keep", "lf")):
        read = final_text(text_or_paths, TextOptions(part=part, normalize=normalize, newlines=newlines))
        text = "".join(read.documents)
        if sha256 in (None, hashlib.sha256(text.encode()).hexdigest()):
            return text
    raise UsageError(f"{read.name}: not the text that was scored (another hash): give the same files, the same --part")
