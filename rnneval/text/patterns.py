r"""Regular expressions of a `tokenizer.json`: only those that read a text in linear time are run.

The library `tokenizers` runs them with Oniguruma, which backtracks: `(\w+\w*)+$` takes time exponential in the length
of a word. A pattern is accepted where nothing that can fail follows a part that repeats without bound. What was read is
then matched, and never read again. Patterns of known tokenizers that break this rule are in a list: they read again
only within a run of blanks or of letters.
"""

import re
from dataclasses import dataclass, replace
from itertools import product

MOST_WAYS = 256
"""Ways of matching up to a part that repeats without bound, all patterns of a tokenizer together."""
_LONGEST, _DEEPEST = 4096, 20
_CAPITALS, _SMALL = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_ENDINGS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
KNOWN = frozenset({r"\s+(?!\S)", r"\s*[\r\n]+", r"\s*[\r\n]", r"\s+$", r"\s++$"}) | frozenset(
    rf"[^\r\n\p{{L}}\p{{N}}]?{letters}{ending}"
    for letters, ending in product((f"{_CAPITALS}*{_SMALL}+", f"{_CAPITALS}+{_SMALL}*"), ("", _ENDINGS))
)
"""Alternatives of GPT-2, GPT-4, Llama 3, DeepSeek (blanks), GPT-4o and Mistral (words) that backtrack within a run."""

_ESCAPE = re.compile(
    r"\\(?:[pP]\{\^?[\w ]+\}|x[0-9a-fA-F]{2}|x\{[0-9a-fA-F]+\}|u[0-9a-fA-F]{4}|[sSdDwWhHnrtf1-9bBAzZ]|[^\w\s]| )"
)
_REPEAT = re.compile(r"[?*+]|\{(?=[\d,]*\d)(\d*)(,?)(\d*)\}")
_GROUP = re.compile(r"\((?:\?(?:i?:|<?[=!]|>))?(?!\?)")
_FLAGS = "(?i)"


class OddPatternError(ValueError):
    """A pattern that is not accepted, and why."""


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A part of a pattern."""

    ways: int = 1
    """Upper bound of the ways in which it is tried at one place."""
    fails: bool = True
    """Whether it can fail to match: it does not match the empty text."""
    endless: bool = False
    """Whether it repeats without bound."""
    again: bool = False
    """Whether it can fail after such a part, so that text is read again."""


def ways(pattern: str) -> int:
    r"""Return in how many ways a pattern is tried at one place of a text, at most.

    Raises:
        OddPatternError: its time is not known to be linear, or it is written in a way that no known tokenizer uses.

    Example:
        >>> ways(r" ?\p{L}+|\s+(?!\S)|\s+")
        4
        >>> ways(r"(a+)+$")
        Traceback (most recent call last):
            ...
        rnneval.text.patterns.OddPatternError: it can fail after a part that repeats without bound
    """
    if len(pattern) > _LONGEST:
        raise OddPatternError(f"it has {len(pattern):,} characters; up to {_LONGEST:,} are read")
    reader = _PatternReader(pattern)
    found = reader.alternatives(0)
    if reader.at < len(pattern):
        raise OddPatternError(f"it has an odd bracket at character {reader.at + 1}")
    if found.again:
        raise OddPatternError("it can fail after a part that repeats without bound")
    return found.ways


class _PatternReader:
    """A reader of one pattern, from left to right."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = len(_FLAGS) if pattern.startswith(_FLAGS) else 0

    def alternatives(self, depth: int) -> _Part:
        """Read alternatives up to a closing bracket or the end."""
        if depth > _DEEPEST:
            raise OddPatternError(f"its groups are more than {_DEEPEST} levels deep")
        found = []
        while True:
            begin = self.at
            part = self._sequence(depth)
            known = depth == 0 and self.pattern[begin : self.at] in KNOWN
            found.append(replace(part, again=False) if known else part)
            if not self._takes("|"):
                break
        return _Part(
            ways=sum(part.ways for part in found),
            fails=all(part.fails for part in found),
            endless=any(part.endless for part in found),
            again=any(part.again for part in found),
        )

    def _sequence(self, depth: int) -> _Part:
        whole = _Part(fails=False)
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            part = self._repeated(self._one(depth))
            whole = _Part(
                ways=whole.ways * part.ways,
                fails=whole.fails or part.fails,
                endless=whole.endless or part.endless,
                again=whole.again or part.again or (whole.endless and part.fails),
            )
            if whole.ways > MOST_WAYS:
                raise OddPatternError(f"it can match in more than {MOST_WAYS} ways at one place")
        return whole

    def _one(self, depth: int) -> _Part:
        """Read a group, a set or a character."""
        if group := self._match(_GROUP):
            inside = self.alternatives(depth + 1)
            if not self._takes(")"):
                raise OddPatternError(f"it has an odd bracket at character {self.at + 1}")
            if group.endswith(("=", "!")):
                # A lookaround consumes nothing: its text is read again at the next place.
                return _Part(ways=inside.ways, again=inside.again or inside.endless)
            return inside
        if self._takes("["):
            self._set()
        elif self.pattern[self.at] == "\\":
            self._escape()
        elif self.pattern[self.at] in "(*+?":
            raise OddPatternError(f"it has an unknown construct at character {self.at + 1}")
        else:
            self.at += 1
        return _Part()

    def _set(self) -> None:
        """Skip a set, with sets within it."""
        depth = 1
        self._takes("^")
        while depth:
            if self.pattern.startswith("]", self.at) and self.pattern[self.at - 1] in "[^":
                raise OddPatternError(f"it has an empty set at character {self.at + 1}")
            if self.pattern.startswith("\\", self.at):
                self._escape()
            elif self._takes("["):
                depth += 1
                self._takes("^")
            elif self._takes("]"):
                depth -= 1
            elif self.at < len(self.pattern):
                self.at += 1
            else:
                raise OddPatternError("it has a set without an end")

    def _escape(self) -> None:
        if not self._match(_ESCAPE):
            raise OddPatternError(f"it has an unknown construct at character {self.at + 1}")

    def _repeated(self, part: _Part) -> _Part:
        """Read how often the part that was just read is repeated."""
        while found := _REPEAT.match(self.pattern, self.at):
            self.at = found.end()
            if found[0] in "?*+":
                least, most = int(found[0] == "+"), 1 if found[0] == "?" else None
                # Lazy or possessive: neither reads more than the greedy one. After {…}, + is another repetition.
                self._takes("?") or self._takes("+")
            else:
                least = int(found[1] or 0)
                most = least if not found[2] else int(found[3]) if found[3] else None
                self._takes("?")
            part = _times(part, least, most)
        return part

    def _takes(self, text: str) -> bool:
        if not self.pattern.startswith(text, self.at):
            return False
        self.at += len(text)
        return True

    def _match(self, kind: "re.Pattern[str]") -> str:
        found = kind.match(self.pattern, self.at)
        self.at = found.end() if found else self.at
        return found[0] if found else ""


def _times(part: _Part, least: int, most: int | None) -> _Part:
    """Return a part that is repeated from `least` to `most` times."""
    last = least if most is None else most
    if max(least, last) > MOST_WAYS:
        found = MOST_WAYS + 1  # beyond the limit it does not matter
    else:  # the ways of these repetitions, or their number where that is more
        tries = sum(max(count, int(part.ways**count)) for count in range(least, last + 1))
        found = max(1, min(tries, MOST_WAYS + 1))
    # Repetitions that have to be there can fail after earlier ones; the last one of an endless loop ends it there.
    more = least > 1 if most is None else part.fails and most > 1
    return _Part(
        ways=found,
        fails=part.fails and least > 0,
        endless=part.endless or most is None,
        again=part.again or (part.endless and more),
    )
