"""What a rule hands back: a place in the tree and what is to be said about it."""

import ast
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """One fault, still without its file."""

    node: ast.AST
    message: str
    suggestion: str | None = None
    """Source that may take the place of the node: only where it is certain."""
