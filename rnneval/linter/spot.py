"""What a rule hands back: a place in the tree and what is to be said about it."""

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """One fault, still without its file."""

    node: ast.AST
    message: str
    suggestion: str | None = None
    """Source that may take the place of the node: only where it is certain."""


def at(node: ast.AST) -> str:
    """Say in a message where something else stands."""
    return f"(line {getattr(node, 'lineno', 1)})"


def moved(message: str, place: Callable[[int], str]) -> str:
    """Say it again for a notebook, where lines count within cells."""
    return re.sub(r"\(line (\d+)\)", lambda found: f"({place(int(found.group(1)))})", message)
