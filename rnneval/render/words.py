"""Words that several renderers share, and what makes text out of a file harmless in each of them."""

import re
from collections.abc import Iterable

_LONGEST_LINE = 4000
_LONGEST_NAME = 400
_COMMAND = re.compile(r"##(?=\w*\[)")  # Azure's `##vso[…]`, GitHub's older `##[…]`, TeamCity's `##teamcity[…]`


def visible(text: str) -> str:
    r"""Show what cannot be printed as escapes, so that a name out of a file cannot drive a terminal or break a line.

    Control characters, line ends, what turns the direction of writing around, and halves of surrogate pairs from paths
    that are not UTF-8. The result is printable on one line; each renderer adds what its own format needs.

    Example:
        >>> visible("gru\x1b[2J"), visible("a\u202eb\n")
        ('gru\\x1b[2J', 'a\\u202eb\\n')
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def shortened(text: str, most: int = _LONGEST_NAME) -> str:
    """Leave out the middle of what is longer than anybody reads.

    Example:
        >>> shortened("abcdefgh", most=5)
        'ab…gh'
    """
    if len(text) <= most:
        return text
    ahead = most // 2
    return f"{text[:ahead]}…{text[len(text) - (most - ahead - 1) :]}"


def one_line(message: str) -> str:
    r"""Give a message as one line: white space joined, what cannot be printed shown, what is endless shortened.

    Example:
        >>> one_line("two\nlines \x07")
        'two lines \\x07'
    """
    return not_a_command(shortened(visible(" ".join(message.split())), _LONGEST_LINE))


def not_a_command(line: str) -> str:
    r"""Break what continuous integration would take for a command in a printed line (`::error::`, `##vso[…]`).

    Example:
        >>> not_a_command("  ::error::x"), not_a_command("tests/a.py::b"), not_a_command("##[group]")
        ('  \\x3a:error::x', 'tests/a.py::b', '\\x23#[group]')
    """
    bare = line.lstrip()
    if bare.startswith("::"):
        line = f"{line[: len(line) - len(bare)]}\\x3a{bare[1:]}"
    return _COMMAND.sub(r"\\x23#", line)


def counted(number: int, noun: str) -> str:
    """Give a number and its noun, in the plural where it is one.

    Example:
        >>> counted(1, "token"), counted(111540, "character")
        ('1 token', '111,540 characters')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(things: Iterable[str], most: int = 5) -> str:
    """Give the first few of many, and how many more there are."""
    every = list(things)
    more = len(every) - most
    return ", ".join(every[:most]) + (f" and {more} more" if more > 0 else "")
