"""Options: fields of frozen dataclasses, with what the command line, keyword arguments and docs need to know of them.

The groups of options that several rooms share are in `rnneval.options`, which takes longer to import.
"""

import ast
import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, cast, dataclass_transform

from rnneval.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Option:
    """Description of one option for the command line and the docs."""

    name: str
    kind: Any  # Type of the value in Python.
    default: Any  # Value without the option; `MISSING` if it is required.
    flag: str  # Flag of the option, such as `--part`; "" for a keyword argument that the command line does not have.
    help: str  # The string under the field, in the first class of the group that has one.
    heading: str  # Heading above the option in help and docs; by default that of the group that defines it first.
    short: str = ""  # Flag of one letter.
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    least: int | None = None  # The smallest number allowed.
    path: bool = False  # Whether it names files or folders, which are read unless the option has `endings`.
    endings: tuple[str, ...] = ()  # Of a file that is written: the endings that have a format.
    repeated: bool = False  # Whether the command line collects several values.
    parse: Callable[[Any], Any] | None = None  # From the value on the command line to the one in Python.
    off: str = ""
    """Text for the command line of a switch that is on by default: its flag, such as `--no-check`, turns it off."""
    unset: str = ""  # Words for what happens without the option, if the default does not say it.
    seldom: bool = False  # Whether `--help` leaves the option out, and `--help-all` has it.

    def require(self, value: Any) -> None:
        """Refuse a value that is not allowed."""
        if self.flag and self.kind in (str, str | None) and not isinstance(value, str | None):
            raise UsageError(f"{self.flag} is a {type(value).__name__}: a str is needed")
        if self.choices and value not in (*self.choices, self.default):
            raise UsageError(f"{self.flag} {value!r} is not known: give {_any_of(self.choices)}")
        if self.least is not None and value != self.default and value < self.least:
            raise UsageError(f"{self.flag} {value} is not allowed: give at least {self.least}")
        written = ([value] if isinstance(value, str | PathLike) else value or ()) if self.endings else ()
        for path in written:
            ending = Path(path).suffix.lower()
            if ending and ending not in self.endings:  # without one, a path such as /dev/stdout promises no format
                known = _any_of(self.endings)
                raise UsageError(f"{self.flag} {path}: {ending} is not a format of this output: give {known}")


def _any_of(words: tuple[str, ...]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def option(default: Any = MISSING, **settings: Any) -> Any:
    """Return a dataclass field for an option: its default, if it has one, then fields of `Option`.

    `flag` defaults to `--field-name`. The help is the string under the field.
    """
    return field(default=default, metadata={"option": settings})


def options_of(group: type) -> list[Option]:
    """Return the options of a group. One that a class defines again keeps its place, its heading and its help."""
    found = []
    for each in fields(group):
        if each.init and "option" in each.metadata:
            owners = [base for base in group.__mro__ if each.name in inspect.get_annotations(base)]
            texts = (_texts(owner.__module__).get((owner.__name__, each.name)) for owner in owners)
            settings = {
                "flag": f"--{'no-' if each.default is True else ''}{each.name.replace('_', '-')}",
                "heading": getattr(owners[-1], "heading", ""),
                "help": next(filter(None, texts), ""),
                **each.metadata["option"],
            }
            found.append(Option(name=each.name, kind=each.type, default=each.default, **settings))
    return found


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


def values_of(group: type, options: Any) -> dict[str, Any]:
    """Return the values of a group's fields, taken from any object that has them."""
    return {each.name: getattr(options, each.name) for each in fields(group) if each.init}


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
@dataclass(frozen=True, kw_only=True)
class Options:
    """Base of all groups, which makes each a frozen dataclass, and checks every value against what its option allows.

    Raises:
        UsageError: a value is not allowed.
    """

    heading: ClassVar[str] = ""

    def __init_subclass__(cls, *, heading: str = "") -> None:
        """Let a class statement give the heading of the group's options in help and docs."""
        if heading:
            cls.heading = heading
        dataclass(frozen=True, kw_only=True)(cls)

    def __post_init__(self) -> None:
        for option in options_of(type(self)):
            option.require(getattr(self, option.name))


def with_short_types(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let `help` show the types of a function's arguments by their short names; its annotations stay as they are."""
    found, shown = inspect.signature(function), cast("Any", function)
    arguments = [each.replace(annotation=_short(each.annotation)) for each in found.parameters.values()]
    shown.__signature__ = found.replace(parameters=arguments, return_annotation=_short(found.return_annotation))
    return function


def _short(annotation: Any) -> Any:
    """Return a class of no module whose name is the short text of an annotation."""
    if annotation is inspect.Parameter.empty:
        return annotation
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"\bndarray\[tuple\[.*?\]\]\]", "ndarray", re.sub(r"\b(?:[A-Za-z_]\w*\.)+(?=[A-Za-z])", "", text))
    for long, short in _SHORT.items():
        text = text.replace(long, short)
    return type(text, (), {"__module__": "builtins"})


_SHORT = {
    "str | PathLike[str] | Iterable[str | PathLike[str]]": "Paths",
    "str | PathLike[str]": "Path",
    "Run | Wiring | Gate | Opened | Gradients | Ranking | Parity": "Record",
}
