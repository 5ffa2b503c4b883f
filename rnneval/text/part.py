"""`--part`: which characters of the joined text are evaluated."""

import re
from dataclasses import dataclass
from fractions import Fraction
from math import floor

from rnneval.errors import UsageError

_DIGITS = "[0-9]{1,18}"
_BOUND = rf"-?(?:{_DIGITS}|{_DIGITS}\.?%|(?:{_DIGITS})?\.{_DIGITS}%)"
_SPEC = re.compile(rf"(?P<start>{_BOUND})?:(?P<stop>{_BOUND})?")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A slice of a text of yet unknown length; each bound is characters, or per cent of them, or open (None)."""

    start: str | None
    stop: str | None

    @classmethod
    def parse(cls, spec: str, option: str = "--part") -> "Part":
        """Read a slice such as `90%:`, which the option gave.

        Raises:
            UsageError: anything but START:STOP with whole numbers or per cents.
        """
        match = _SPEC.fullmatch(spec.strip())
        if match is None:
            raise UsageError(
                f"{option} {spec!r} is not a slice: give START:STOP in characters or per cent, "
                "such as 90%:, :90%, 10%:20%, 99.5%:, -10%:, 100:200 or -1000: (no step)"
            )
        return cls(start=match["start"], stop=match["stop"])

    def resolve(self, characters: int) -> range:
        """Give the characters meant in a text of so many, by Python's slice rules; per cents are rounded down.

        >>> Part.parse("90%:").resolve(1_115_394)
        range(1003854, 1115394)
        >>> Part.parse("-10%:").resolve(1_115_394) == Part.parse("90%:").resolve(1_115_394)
        True
        """
        bounds = slice(_place(self.start, characters), _place(self.stop, characters))
        return range(characters)[bounds]


def _place(bound: str | None, characters: int) -> int | None:
    """Turn a bound into an index; exact arithmetic, since 0.29 · 100 is not 29 in floating point."""
    if bound is None:
        return None
    if bound.endswith("%"):
        return floor(Fraction(bound[:-1]) * characters / 100)
    return int(bound)
