"""Patterns of paths, as .gitignore writes them: `*`, `?`, `[…]`, `**`, slashes that anchor or mean folders."""

import re
from functools import lru_cache


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> re.Pattern[str]:
    """Translate a pattern to an expression for a path with forward slashes, relative to where the pattern stands."""
    body = pattern.strip("/") if pattern != "/" else ""
    anchored = "/" in pattern.rstrip("/")
    start = "" if anchored else r"(?:.*/)?"
    return re.compile(f"{start}{_translate(body)}(?:/.*)?", re.DOTALL)


def matches(pattern: str, path: str) -> bool:
    """Tell whether the pattern covers the path or a folder above it."""
    return compiled(pattern).fullmatch(path) is not None


def _translate(body: str) -> str:
    out, index = "", 0
    while index < len(body):
        if body.startswith("**/", index):
            out, index = out + r"(?:.*/)?", index + 3
        elif body.startswith("**", index):
            out, index = out + ".*", index + 2
        elif body[index] == "*":
            out, index = out + "[^/]*", index + 1
        elif body[index] == "?":
            out, index = out + "[^/]", index + 1
        elif body[index] == "[" and (end := body.find("]", index + 2)) > 0:
            out, index = out + _class(body[index + 1 : end]), end + 1
        elif body[index] == "\\" and index + 1 < len(body):
            out, index = out + re.escape(body[index + 1]), index + 2
        else:
            out, index = out + re.escape(body[index]), index + 1
    return out


def _class(inner: str) -> str:
    negated = inner[:1] in ("!", "^")
    safe = (inner[1:] if negated else inner).replace("\\", r"\\").replace("[", r"\[")
    try:
        re.compile(f"[{safe}]")
    except re.error:
        return re.escape(f"[{inner}]")
    return f"[{'^' if negated else ''}{safe}]"
