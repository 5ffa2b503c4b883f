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
    tree: ast.Module  # of all that can be parsed
    troubles: tuple[Trouble, ...]

    def place(self, line: int) -> tuple[CodeCell, int]:
        """Return the cell of a line of the tree, and its line within the cell."""
        cell = self.cells[max(bisect_left(self.cells, line, key=lambda cell: cell.first) - 1, 0)]
        return cell, line - cell.first


class _NotSourceError(Exception):
    """A file that is no source, or takes more time or memory than one file may."""


def read_document(path: str, content: bytes) -> SourceFile:
    """Read a file's bytes; whatever they hold, no error is raised."""
    tree, first = ast.Module(body=[], type_ignores=[]), 0
    cells: list[CodeCell] = []
    troubles: list[Trouble] = []
    try:
        for number, text in _sources(path.endswith(".ipynb"), content):
            lines = text.split("\n")
            cells.append(CodeCell(number, first, tuple(lines)))
            parsed = _parsed(text if number is None else "\n".join(plain_lines(text)), number)
            if isinstance(parsed, Trouble):
                troubles.append(parsed)
            else:
                tree.body += (ast.increment_lineno(parsed, first) if first else parsed).body
            first += len(lines)
    except _NotSourceError as error:
        troubles = [Trouble(1, 1, str(error))]
    except (RecursionError, MemoryError):
        troubles = [Trouble(1, 1, "nested too deeply to be read")]
    return SourceFile(path, tuple(cells), tree, tuple(troubles))


def _sources(is_notebook: bool, content: bytes) -> list[tuple[int | None, str]]:
    """Return the source of a Python file, or the code cells of a notebook with their numbers."""
    if not is_notebook:
        _require("bytes of source", len(content), MOST_SOURCE_BYTES)
        try:
            text = content.decode(tokenize.detect_encoding(io.BytesIO(content).readline)[0])
        except (SyntaxError, UnicodeDecodeError, LookupError) as error:
            raise _NotSourceError(f"not readable as text ({_short(error)})") from error
        return [(None, _with_newlines(text.removeprefix("\ufeff")))]
    _require("bytes of a notebook", len(content), MOST_NOTEBOOK_BYTES)
    _require("lists and objects", content.count(b"[") + content.count(b"{"), _MOST_CONTAINERS)
    _require("quotation marks", content.count(b'"'), _MOST_QUOTES)
    sources: list[tuple[int | None, str]] = []
    try:
        for number, cell in enumerate(json.loads(content.decode("utf-8-sig"))["cells"], 1):
            if cell.get("cell_type") == "code":
                source = cell.get("source", "")
                sources.append((number, "".join(map(str, source)) if isinstance(source, list) else str(source)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _NotSourceError(f"not a notebook ({_short(error)})") from error
    _require("bytes of source", sum(len(text) for _, text in sources), MOST_SOURCE_BYTES)
    return [(number, _with_newlines(text)) for number, text in sources]


def _require(what: str, count: int, allowed: int) -> None:
    if count > allowed:
        raise _NotSourceError(f"more than {allowed:,} {what}: split the file to have it checked")


def _with_newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _parsed(text: str, cell: int | None) -> ast.Module | Trouble:
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(text)
    except SyntaxError as error:
        return Trouble(max(error.lineno or 1, 1), max(error.offset or 1, 1), error.msg, cell)
    except ValueError as error:
        return Trouble(1, 1, str(error), cell)


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
    return lines if plain != lines and isinstance(_parsed(text, None), ast.Module) else plain


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
