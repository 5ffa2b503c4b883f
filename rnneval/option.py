"""Options: fields of frozen dataclasses, with what the command line, keyword arguments and docs need to know of them.

The groups of options that several rooms share are in `rnneval.options`, which takes longer to import.
"""

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from itertools import pairwise
from typing import Any, ClassVar, cast

from rnneval.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Option:
    """Description of one option for the command line and the docs."""

    name: str
    group: type
    flag: str
    """Flag of the option, such as `--part`; "" for a keyword argument that the command line does not have."""
    short: str = ""
    """Flag of one letter."""
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    least: int | None = None
    """The smallest number allowed."""
    repeated: bool = False
    """Whether the command line collects several values."""
    parse: Callable[[Any], Any] | None = None
    """From the value on the command line to the one in Python."""
    off: str = ""
    """Text for the command line of a switch that is on by default: its flag, such as `--no-check`, turns it off."""
    unset: str = ""
    """Words for what happens without the option, if the default does not say it."""
    seldom: bool = False
    """Whether `--help` leaves the option out, and `--help-all` has it."""
    heading: str = ""
    """Heading above the option in help and docs; by default that of the group that defines it."""
    text: str = ""
    """Help in place of the text under the field."""

    @property
    def help(self) -> str:
        """Its own text, or that under the field, in the first class of the group that has one."""
        texts = (_texts(base.__module__).get((base.__qualname__, self.name), "") for base in self.group.__mro__)
        return self.text or next(filter(None, texts), "")


class _ShortType:
    """The name of a type in a signature, as `help` shows it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def with_short_types(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let `help` show the types of a function's arguments by their short names; its annotations stay as they are."""
    found, shown = inspect.signature(function), cast("Any", function)
    arguments = [each.replace(annotation=_short(each.annotation)) for each in found.parameters.values()]
    shown.__signature__ = found.replace(parameters=arguments, return_annotation=_short(found.return_annotation))
    return function


def _short(annotation: Any) -> Any:
    if annotation is inspect.Parameter.empty or isinstance(annotation, _ShortType):
        return annotation
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"\bndarray\[tuple\[.*?\]\]\]", "ndarray", re.sub(r"\b(?:[A-Za-z_]\w*\.)+(?=[A-Za-z])", "", text))
    for long, short in _SHORT.items():
        text = text.replace(long, short)
    return _ShortType(text)


_SHORT = {
    "str | PathLike[str] | Iterable[str | PathLike[str]]": "Paths",
    "str | PathLike[str]": "Path",
    "Run | Wiring | Gate | Opened | Gradients | Ranking": "Record",
}


@cache
def _texts(module: str) -> dict[tuple[str, str], str]:
    """Return the strings that stand under the fields of a module's classes, by class and field.

    They are read from the source, since Python drops them; where there is none, options have no help.
    """
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError):  # the program is frozen, or the module is built in
        return {}
    found = {}
    for owner in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for each, below in pairwise(owner.body):
            match each, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[owner.name, name] = " ".join(text.split())
    return found


def option(default: Any = MISSING, **settings: Any) -> Any:
    """Return a dataclass field for an option: its default, if it has one, then fields of `Option`.

    `flag` defaults to `--field-name`. The help is the string under the field.
    """
    return field(default=default, metadata={"option": settings})


def options_of(kind: type) -> Iterator[tuple[Field[Any], Option]]:
    """Yield the fields of a group that are options, each with its description.

    An option stands under the heading of the group that defines it first: one that defines it again does not move it.
    """
    for each in fields(kind):
        if each.init and "option" in each.metadata:
            defining = [base for base in kind.__mro__ if each.name in inspect.get_annotations(base)][-1]
            flag = f"--{'no-' if each.default is True else ''}{each.name.replace('_', '-')}"
            settings = {"flag": flag, "heading": getattr(defining, "heading", ""), **each.metadata["option"]}
            yield each, Option(name=each.name, group=kind, **settings)


def values_of(group: type, options: Any) -> dict[str, Any]:
    """Return the values of a group's fields, taken from any object that has them."""
    return {each.name: getattr(options, each.name) for each in fields(group) if each.init}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base of all groups. It checks every value against what its option allows.

    Raises:
        UsageError: a value is not allowed.
    """

    heading: ClassVar[str] = ""

    def __init_subclass__(cls, *, heading: str = "") -> None:
        """Let a class statement give the heading of the group's options in help and docs."""
        if heading:
            cls.heading = heading

    def __post_init__(self) -> None:
        for each, option in options_of(type(self)):
            value = getattr(self, each.name)
            if option.flag and each.type in (str, str | None) and not isinstance(value, str | None):
                raise UsageError(f"{option.flag} is a {type(value).__name__}: a str is needed")
            if option.choices and value not in (*option.choices, each.default):
                known = option.choices
                allowed = " or ".join(known) if len(known) == 2 else f"one of {', '.join(known)}"
                raise UsageError(f"{option.flag} {value!r} is not known: give {allowed}")
            if option.least is not None and value != each.default and value < option.least:
                raise UsageError(f"{option.flag} {value} is not allowed: give at least {option.least}")
