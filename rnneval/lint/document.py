"""Reading of files into trees: Python as it is, a notebook as its code cells one below the other."""

import ast
import io
import json
import re
import tokenize
import warnings
from bisect import bisect_left
from dataclasses import dataclass

_MAGIC = re.compile(r"^\s*([%!?]|[\w.]+\?{1,2}\s*$)")
_ASSIGNED_MAGIC = re.compile(r"^([\w,\s]++=\s*+)[%!].*$")
_OTHER_LANGUAGE = re.compile(r"^\s*%%(?!time\b|timeit\b|capture\b|prun\b|tensorflow_version\b)")
MOST_SOURCE_BYTES, MOST_NOTEBOOK_BYTES = 1 << 20, 1 << 26
"""Python takes up to 900 times the bytes of its source to parse it."""
_MOST_CONTAINERS, _MOST_QUOTES = 1 << 20, 1 << 22  # of a notebook's JSON


@dataclass(frozen=True, slots=True)
class Trouble:
    """A part that cannot be read, and why."""

    line: int
    column: int
    message: str
    cell: int | None = None


@dataclass(frozen=True, slots=True)
class CodeCell:
    """One piece of source: a file, or a code cell of a notebook."""

    number: int | None
    first: int  # number of lines of other cells before it
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file, ready to be judged."""

    path: str
    cells: tuple[CodeCell, ...]
    tree: ast.Module | None
    troubles: tuple[Trouble, ...]

    def place(self, line: int) -> tuple[CodeCell, int]:
        """Return the cell of a line of the tree, and its line within the cell."""
        cell = self.cells[max(bisect_left(self.cells, line, key=lambda cell: cell.first) - 1, 0)]
        return cell, line - cell.first


def read_document(path: str, content: bytes) -> SourceFile:
    """Read a file's bytes; whatever they hold, no error is raised."""
    try:
        return (_notebook if path.endswith(".ipynb") else _python)(path, content)
    except _NotSourceError as error:
        message = str(error)
    except (RecursionError, MemoryError):
        message = "nested too deeply to be read"
    return SourceFile(path, (), None, (Trouble(1, 1, message),))


class _NotSourceError(Exception):
    """A file that is no source, or takes more time or memory than one file may."""


def _require(what: str, seen: int, allowed: int) -> None:
    if seen > allowed:
        raise _NotSourceError(f"more than {allowed:,} {what}: split the file to have it checked")


def _python(path: str, content: bytes) -> SourceFile:
    _require("bytes of source", len(content), MOST_SOURCE_BYTES)
    try:
        encoding = tokenize.detect_encoding(io.BytesIO(content).readline)[0]
        text = content.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        raise _NotSourceError(f"not readable as text ({_short(error)})") from error
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    cell = CodeCell(None, 0, tuple(text.split("\n")))
    tree, trouble = _parse(text, None)
    return SourceFile(path, (cell,), tree, (trouble,) if trouble else ())


def _parse(text: str, number: int | None) -> tuple[ast.Module | None, Trouble | None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text), None
    except SyntaxError as error:
        return None, Trouble(max(error.lineno or 1, 1), max(error.offset or 1, 1), error.msg, number)
    except ValueError as error:
        return None, Trouble(1, 1, str(error), number)


def _notebook(path: str, content: bytes) -> SourceFile:
    _require("bytes of a notebook", len(content), MOST_NOTEBOOK_BYTES)
    _require("lists and objects", content.count(b"[") + content.count(b"{"), _MOST_CONTAINERS)
    _require("quotation marks", content.count(b'"'), _MOST_QUOTES)
    try:
        cells = json.loads(content.decode("utf-8-sig"))["cells"]
        sources = [(number, _source(cell)) for number, cell in enumerate(cells, 1) if cell.get("cell_type") == "code"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _NotSourceError(f"not a notebook ({_short(error)})") from error
    _require("bytes of source", sum(len(text) for _, text in sources), MOST_SOURCE_BYTES)
    body: list[ast.stmt] = []
    kept, troubles, first = [], [], 0
    for number, text in sources:
        lines = plain_lines(text)
        kept.append(CodeCell(number, first, tuple(text.split("\n"))))
        tree, trouble = _parse("\n".join(lines), number)
        if trouble is not None:
            troubles.append(trouble)
        if tree is not None:
            body += ast.increment_lineno(tree, first).body
        first += len(lines)
    return SourceFile(path, tuple(kept), ast.Module(body=body, type_ignores=[]), tuple(troubles))


def _source(cell: dict[str, object]) -> str:
    text = cell.get("source", "")
    joined = "".join(str(line) for line in text) if isinstance(text, list) else str(text)
    return joined.replace("\r\n", "\n").replace("\r", "\n")


def plain_lines(text: str) -> list[str]:
    """Return the lines of a cell with the commands of IPython blanked out; Python alone stays as it is.

    A line such as `% b` may also be the second line of an expression or of a string: then the cell parses as it is.
    """
    lines = text.split("\n")
    first = next((line for line in lines if line.strip()), "")
    plain: list[str] = []
    indent, goes_on = "", False
    for line in lines:
        if not goes_on:
            # IPython takes a magic with blanks before it at the top of a cell; Python would not take a statement so.
            indent = line[: len(line) - len(line.lstrip())] if any(text.strip("pas ") for text in plain) else ""
        magic = goes_on or bool(_MAGIC.match(line))
        plain.append(f"{indent}pass" if magic else _ASSIGNED_MAGIC.sub(r"\1None", line))
        goes_on = magic and line.rstrip().endswith("\\")
    if _OTHER_LANGUAGE.match(first):
        plain = [""] * len(lines)
    return lines if plain != lines and _parse(text, None)[0] is not None else plain


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
