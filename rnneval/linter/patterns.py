"""Patterns of paths, as .gitignore writes them: `*`, `?`, `[…]`, `**`, slashes that anchor or mean folders.

A pattern and a path are compared in time proportional to the product of their lengths, whatever the pattern is.
Python's `fnmatch` does that within one name, by atomic groups; names are compared one after the other.
"""

import fnmatch
import re
from functools import lru_cache

_ANY = None
"""Stands for `**`: any number of folders."""


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> tuple[re.Pattern[str] | None, ...]:
    """Translate a pattern to one expression for each name of a path; None for `**`, once where it is repeated."""
    body = pattern.strip("/") if pattern != "/" else ""
    anchored = "/" in pattern.rstrip("/")
    names = body.split("/")
    if names[-1] == "**":
        names[-1] = "*"  # at the end, all that is in the folder: at least one name
    if not anchored:
        names.insert(0, "**")
    several = [name for name, before in zip(names, ["", *names], strict=False) if not name == before == "**"]
    return tuple(_ANY if name == "**" else re.compile(fnmatch.translate(_plain(name))) for name in several)


def matches(pattern: str, path: str) -> bool:
    """Return whether the pattern covers the path, or a folder above it.

    >>> matches("build/", "a/build/b.py"), matches("/build", "a/build/b.py")
    (True, False)
    """
    parts = compiled(pattern)
    reached = _with_skips({0}, parts)  # how many parts the names up to here may have used up
    for name in path.split("/"):
        after = {at if part is _ANY else at + 1 for at in reached if (part := parts[at]) is _ANY or part.match(name)}
        reached = _with_skips(after, parts)
        if len(parts) in reached:
            return True
        if not reached:
            return False
    return False


def _with_skips(reached: set[int], parts: tuple[re.Pattern[str] | None, ...]) -> set[int]:
    """Add what is reached where `**` stands for no folder."""
    return reached | {at + 1 for at in reached if at < len(parts) and parts[at] is _ANY}


_SET = re.compile(r"\\(?P<escaped>.)|\[(?P<set>[!^]?\]?[^]]*)\]", re.DOTALL)
_OPEN = re.compile(r"\\(?P<escaped>.)|(?P<other>\[)", re.DOTALL)


def _plain(name: str) -> str:
    r"""Write a name as `fnmatch` reads it, which has no `\` and no `[^…]`, and is slow where a `[` has no end."""
    closed = name.rfind("]") + 1
    return _SET.sub(_as_fnmatch, name[:closed]) + _OPEN.sub(_as_fnmatch, name[closed:])


def _as_fnmatch(token: re.Match[str]) -> str:
    found = {key: text for key, text in token.groupdict().items() if text is not None}
    if "set" in found:
        return f"[!{found['set'][1:]}]" if found["set"].startswith("^") else token[0]
    escaped = found.get("escaped") or found["other"]
    return f"[{escaped}]" if escaped in "*?[" else escaped
