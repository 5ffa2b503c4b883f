"""Numbers, counts and lists in words, and functions that make text out of a file harmless, for GitHub too.

It imports nothing else of this package, so that an error message costs no start-up time.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

Level = Literal["error", "warning", "notice"]
_LONGEST_LINE = 4000
_LONGEST_NAME = 400
_ENDING = re.compile(r"(?<=[^/])(\.weights\.h5|\.keras|\.h5|\.hdf5|(\.run)?\.json)$")
_COMMAND = re.compile(r"##(?=\w*\[)")  # Azure's `##vso[…]`, GitHub's older `##[…]`, TeamCity's `##teamcity[…]`


def visible(text: str) -> str:
    r"""Show unprintable characters as escapes, so that a name out of a file cannot drive a terminal or break a line.

    These are control characters, line ends, marks that change the direction of writing, and lone surrogates of paths
    that are not UTF-8. The result is printable on one line; each renderer adds the escapes of its own format.

    >>> visible("gru\x1b[2J"), visible("a\u202eb\n")
    ('gru\\x1b[2J', 'a\\u202eb\\n')
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def shortened(text: str, most: int = _LONGEST_NAME) -> str:
    """Leave out the middle of a text that is longer than `most` characters."""
    if len(text) <= most:
        return text
    ahead = most // 2
    return f"{text[:ahead]}…{text[len(text) - (most - ahead - 1) :]}"


def one_line(message: str) -> str:
    """Return a message as one line: white space joined, unprintable characters escaped, a very long one shortened."""
    return not_a_command(shortened(visible(" ".join(message.split())), _LONGEST_LINE))


def not_a_command(line: str) -> str:
    r"""Escape what continuous integration would read as a command in a printed line (`::error::`, `##vso[…]`).

    >>> not_a_command("  ::error::x"), not_a_command("tests/a.py::b"), not_a_command("##[group]")
    ('  \\x3a:error::x', 'tests/a.py::b', '\\x23#[group]')
    """
    bare = line.lstrip()
    if bare.startswith("::"):
        line = f"{line[: len(line) - len(bare)]}\\x3a{bare[1:]}"
    return _COMMAND.sub(r"\\x23#", line)


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, in the plural unless the number is 1."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(names: Iterable[str], most: int = 5) -> str:
    """Join the first few names, and say how many more there are: `a, b and 1 more`."""
    every = list(names)
    more = len(every) - most
    return ", ".join(every[:most]) + (f" and {more} more" if more > 0 else "")


def framed(before: str, text: str | None, after: str = "") -> str:
    """Return a text between two others, and nothing without a text."""
    return f"{before}{text}{after}" if text else ""


def file_name(path: str) -> str:
    r"""Return the last part of a path of any system.

    >>> file_name("runs\\a.keras"), file_name("runs/saved/")
    ('a.keras', 'saved')
    """
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]


def model_names(paths: Sequence[str]) -> list[str]:
    """Return short names of models: those of their files, without the endings that say the format.

    Of files with one name, each has as many folders before it as tell them apart.

    >>> model_names(["runs/a.weights.h5", "runs/b.keras"]), model_names(["a.h5", "a.keras"])
    (['a', 'b'], ['a.h5', 'a.keras'])
    >>> model_names(["/home/x/1/a.keras", "/home/y/1/a.keras"])
    ['x/1/a', 'y/1/a']
    """
    names, parts = list(paths), [path.replace("\\", "/").rstrip("/").split("/") for path in paths]
    for depth in range(1, max(map(len, parts), default=0)):
        short = ["/".join(part[-depth:]) or path for part, path in zip(parts, paths, strict=True)]
        if len(set(short)) == len(set(paths)):
            names = short
            break
    bare = [_ENDING.sub("", name) or name for name in names]
    return bare if len(set(bare)) == len(set(names)) else names


def told_apart(names: Sequence[str], differences: Sequence[str | None]) -> list[str]:
    """Return names with what differs behind those that are equal; with a number where nothing does.

    >>> told_apart(["a", "a", "b"], ["x", "y", "y"]), told_apart(["a", "a"], ["x", "x"])
    (['a (x)', 'a (y)', 'b'], ['a (1)', 'a (2)'])
    """
    pairs = list(zip(names, differences, strict=True))
    more = [why if why and pairs.count((name, why)) == 1 else str(n) for n, (name, why) in enumerate(pairs, 1)]
    return [f"{name} ({why})" if names.count(name) > 1 else name for name, why in zip(names, more, strict=True)]


def figure(value: float | None, form: str = "") -> str:
    """Write a number with five significant digits, or with a format; a missing one is a dash.

    >>> figure(4.174387), figure(12345.678), figure(-0.00012345), figure(15609234.0), figure(1e9), figure(1234, ",")
    ('4.1744', '12,346', '−0.00012345', '15,609,000', '1e+09', '1,234')
    """
    if value is None:
        return "–"
    if form:
        return format(value, form)
    rounded = float(f"{value:.5g}")  # without an exponent where it can be read without
    return signed(rounded, ",.0f" if 1e4 <= abs(rounded) < 1e9 else ".5g")


def number(value: float) -> str:
    """Write a number with three significant digits, without an exponent unless it is very small or large.

    >>> number(1.8034), number(12345.6), number(0.00123), number(2.4e-13), number(-0.5), number(192.0)
    ('1.80', '12,346', '0.00123', '2.4e-13', '−0.500', '192')
    """
    size = abs(value)
    if value == 0 or 1000 <= size < 1e7:
        return signed(value, ",.0f")
    if 0.1 <= size < 1000:
        return signed(value, f".{3 if size < 1 else 2 if size < 10 else 1 if size < 100 else 0}f")
    return signed(value, ".3g" if size >= 1e-4 else ".2g")


def interval(
    low: float | None, high: float | None, write: Callable[[float], str] = figure, between: str = " – "
) -> str:
    """Write both ends of an interval; a missing one is a dash."""
    return "–" if low is None or high is None else f"{write(low)}{between}{write(high)}"


def per_cent(share: float | None, form: str = ".1f") -> str:
    """Write a share in per cent; a missing one is a dash."""
    return "–" if share is None else f"{signed(100 * share, form)} %"


def signed(value: float, form: str = "+.4f") -> str:
    """Write a difference with its sign, which is a minus and no hyphen; what is rounded to 0 has none.

    >>> signed(-0.25), signed(-0.00001), signed(0.00001)
    ('−0.2500', '0.0000', '0.0000')
    """
    written = re.sub("^-", "−", format(value, form))
    return re.sub("^[−+](?=[0.]+$)", "", written)


def annotation(level: Level, message: str, **properties: object) -> str:
    r"""Write one workflow command; properties such as `file`, `line` and `title` that are None are left out.

    >>> annotation("warning", "50 % of it", file="a,b.py", line=3)
    '::warning file=a%2Cb.py,line=3::50 %25 of it'
    """
    given = ",".join(
        f"{name}={_data(str(value)).replace(':', '%3A').replace(',', '%2C')}"
        for name, value in properties.items()
        if value is not None
    )
    return f"::{level}{' ' if given else ''}{given}::{_data(message)}"


def _data(text: str) -> str:
    return "%0A".join(visible(line).replace("%", "%25") for line in text.split("\n"))
