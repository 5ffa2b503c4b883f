"""Where in the author's own source a unit was called."""

import ast
import linecache
import os
import sys
import textwrap
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import keras
import tensorflow as tf

from rnneval.engine.wiring.private import original_line


class Place(NamedTuple):
    """A line, and the statement that begins or goes on there."""

    file: str | None
    line: int | None
    code: str


_NOWHERE = Place(None, None, "")
_OURS = str(Path(__file__).resolve().parents[2]) + os.sep
_FOREIGN = tuple(
    str(Path(module.__file__).resolve().parent) + os.sep for module in (keras, tf) if module.__file__
)  # fmt: skip
_LIBRARY = os.sep + "site-packages" + os.sep


def place_of_call() -> Place:
    """The innermost frame that is neither Keras', TensorFlow's nor ours; nowhere for a graph of layers."""
    return frames_of_call(sys._getframe(1))[1]


def frames_of_call(frame: FrameType | None) -> tuple[list[FrameType], Place]:
    """Return the frames from here out to the author's own, that one included, and its place."""
    frames: list[FrameType] = []
    while frame is not None:
        frames.append(frame)
        name = frame.f_code.co_filename
        if "__autograph_generated_file" in name:
            found = original_line(frame)
            if found is not None:
                return frames, _place(*found)
        elif not _is_library(name):
            return frames, _place(name, frame.f_lineno)
        elif name.startswith(_OURS) and frame.f_code.co_name == "call_model":
            break  # all the way out: the model is a graph, no line of the author's called the layer
        frame = frame.f_back
    return frames, _NOWHERE


def _is_library(name: str) -> bool:
    return (
        name.startswith((_OURS, *_FOREIGN, "<frozen"))
        or (_LIBRARY in name and any(package in name for package in ("keras", "tensorflow", "optree")))
        or name.endswith(("contextlib.py", "functools.py", "nest_util.py"))
    )


def _place(file: str, line: int) -> Place:
    return Place(file, line, _statement(file, line))


@lru_cache(maxsize=1024)
def _statement(file: str, line: int) -> str:
    """The smallest whole statement at this line; empty where the file cannot be read or parsed."""
    source = "".join(linecache.getlines(file))
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return ""
    best: ast.stmt | None = None
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno):
            best = node if best is None or node.lineno >= best.lineno else best
    return textwrap.dedent(ast.get_source_segment(source, best) or "") if best is not None else ""
