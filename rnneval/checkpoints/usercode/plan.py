"""From `FILE.py:NAME` to the units that NAME needs, or to the message that says why they may not be run.

The units that a name needs are found, held against the list of what may run, and put into a tree.
"""

import ast
import builtins
import copy
import difflib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from rnneval.checkpoints.usercode.allowed import is_download
from rnneval.checkpoints.usercode.refusals import Refusal, first_refused
from rnneval.checkpoints.usercode.source import (
    ENDINGS,
    CodeUnit,
    Function,
    Scope,
    UserSource,
    bodies_of,
    is_main_guard,
    read_source,
    with_bodies,
)
from rnneval.errors import CheckpointError, UsageError

T = TypeVar("T")

_DEFINITION = Function | ast.ClassDef
VALUES = "__rnneval_values__"  # name in the module under which the values of `--builder-global` stand
CACHED = "__rnneval_cached_file__"  # name in the module of the function that stands for Keras' `get_file`
_ALWAYS = frozenset((*dir(builtins), "__name__", "__file__", "__doc__", "__spec__", "__builtins__", "__annotations__"))
_END = (sys.maxsize, 0)  # line and column after the last statement
_WHOLE = "--run-module to import the whole file as it is, with all that it trains and writes"


class Reason(NamedTuple):
    """Reason for which a unit is kept: a name, and the unit that reads it."""

    name: str
    of: CodeUnit | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Slice:
    """The units that are needed, each with the reason."""

    source: UserSource
    reasons: Mapping[CodeUnit, Reason]
    values: Mapping[str, Any] = field(default_factory=dict)
    """Values of `--builder-global`, in place of the statements that compute them."""
    notes: tuple[str, ...] = ()

    @cached_property
    def units(self) -> tuple[CodeUnit, ...]:
        """The units that are needed, in the order of the file."""
        return tuple(sorted(self.reasons, key=lambda unit: unit.order))

    def chain(self, unit: CodeUnit | None) -> list[str]:
        """Return the names that lead to a unit, the name that was asked for first."""
        names: dict[CodeUnit, str] = {}
        while unit is not None and unit not in names:
            names[unit], unit = self.reasons[unit]
        return list(dict.fromkeys(filter(None, names.values())))[::-1]

    def lines(self) -> list[int]:
        """Return the numbers of the lines that are run."""
        numbers: set[int] = set()
        for node in (unit.node for unit in self.units):
            first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
            below = [each.lineno for body in bodies_of(node) for each in body[:1]]
            last = max(min(below) - 1, first) if below else node.end_lineno or first
            numbers |= {*range(first, last + 1), *(each.lineno for each in getattr(node, "handlers", ()))}
        return sorted(numbers)

    def shown_lines(self) -> str:
        """Return the lines that are run as text: `lines 1-3, 10`, or `cell 2 (1-3), cell 4 (1)`."""
        parts = []
        places = map(self.source.document.place, self.lines())
        for cell, inside in groupby(places, key=lambda place: place[0].number):
            runs = groupby(enumerate(line for _, line in inside), key=lambda pair: pair[1] - pair[0])
            ends = [(lines[0][1], lines[-1][1]) for lines in (list(run) for _, run in runs)]
            text = ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in ends)
            parts.append(f"lines {text}" if cell is None else f"cell {cell} ({text})")
        return ", ".join(parts) or "lines "

    def tree(self) -> ast.Module:
        """Return the syntax tree to run."""
        by_node = {unit.node: unit for unit in self.reasons}

        def pruned(body: Sequence[ast.stmt]) -> list[ast.stmt]:
            statements: list[ast.stmt] = []
            for unit in (by_node[node] for node in body if node in by_node):
                statements.append(with_bodies(unit.node, pruned) if bodies_of(unit.node) else unit.node)
                for name in sorted(unit.binds & set(self.values)):
                    bound = ast.parse(f"{name} = {VALUES}[{name!r}]").body[0]  # its given value again
                    statements.append(ast.increment_lineno(bound, unit.node.lineno - 1))
            return statements

        module = copy.deepcopy(ast.Module(body=pruned(self.source.body), type_ignores=[]))
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and any(map(is_download, self.source.scope.full_names(node.func))):
                node.func = ast.copy_location(ast.Name(id=CACHED, ctx=ast.Load()), node.func)
        return ast.fix_missing_locations(module)


def is_file(spec: str) -> bool:
    """Return whether a builder is in a file, rather than in a module that is imported by its name."""
    return spec.rpartition(":")[0].endswith(ENDINGS)


def split_spec(spec: str) -> tuple[str, str]:
    """Return the file or module and the name of a builder."""
    target, _, name = spec.rpartition(":")
    if not target or not name:
        raise UsageError(f"--builder {spec!r}: give FILE.py:NAME, FILE.ipynb:NAME or package.module:NAME")
    return target, name


def plan(spec: str, values: Mapping[str, Any] | None = None, *, everything: bool = False) -> Slice:
    """Find the statements of a file that a builder needs, and refuse them if one of them may not run. Nothing is run.

    With `everything`, all classes and functions that may be run are included, since a model in a file asks for them by
    name; NAME need not exist then. `values` are those of `--builder-global`.
    """
    name = split_spec(spec)[1]
    first = name.partition(".")[0]
    source = _read_file(spec)
    _require_values(source, values or {})
    if not everything:
        _require_bound(source, spec, first)
    try:
        sliced = _with_settings(_needed_by(source, first, values or {}))
        refusal = _refused(sliced, called=name)
        if refusal is not None:
            raise CheckpointError(_refusal(refusal, sliced, spec, first))
        return _with_definitions(sliced) if everything else sliced
    except RecursionError as error:
        said = "its functions call one another too deeply to be followed: give"
        raise CheckpointError(f"builder {spec}: {said} {_WHOLE}") from error


def whole(spec: str) -> Slice:
    """Return all statements of a file, for `--run-module`; nothing is searched."""
    source = _read_file(spec)
    return Slice(source=source, reasons={unit: Reason(split_spec(spec)[1]) for unit in source.units})


def _read_file(spec: str) -> UserSource:
    target = split_spec(spec)[0]
    if not Path(target).is_file():
        raise CheckpointError(f"builder {spec}: {target} is not a file")
    return read_source(Path(target), target)


def _require_values(source: UserSource, values: Iterable[str]) -> None:
    """Refuse a given name that no statement mentions."""
    mentioned = {name for unit in source.units for name in unit.binds | unit.reads | unit.reads_later}
    for name in values:
        if name not in mentioned:
            close = difflib.get_close_matches(name, source.definitions, n=3)
            hint = f": did you mean {' or '.join(close)}?" if close else ""
            raise UsageError(f"--builder-global {name}: {source.label} has no such name at its top level{hint}")


def _require_bound(source: UserSource, spec: str, name: str) -> None:
    """Refuse a builder's name that no statement binds; a star import may bring it."""
    if name in source.definitions:
        return
    if any(Scope(ast.walk(node)).knows(name) for node in source.body if is_main_guard(node)):
        raise CheckpointError(
            f'builder {spec}: {name} is bound under if __name__ == "__main__" alone, which is never run: '
            "move it out of there, or name a function or class"
        )
    if not any(unit.is_star for unit in source.units):
        names = [each for unit in source.units if isinstance(unit.node, _DEFINITION) for each in unit.binds]
        raise no_such_name(spec, name, names, source.notes)


def no_such_name(spec: str, name: str, names: Iterable[str], notes: Sequence[str] = ()) -> CheckpointError:
    """Return the error that a file or module has no such name, with the names that it has."""
    public = [each for each in dict.fromkeys(names) if not each.startswith("_")]
    close = ", ".join(difflib.get_close_matches(name, public, n=3) or public[:5]) or "nothing callable"
    left_out = f" ({'; '.join(notes)})" if notes else ""
    return CheckpointError(f"builder {spec}: there is no {name} in it; there is {close}{left_out}")


# What is needed
#
# A name that is read when a statement runs means what was bound before that statement. A name that is read inside of a
# function means what is bound when it is called: all that binds or changes the name is kept, in its order.


def _needed_by(source: UserSource, name: str, values: Mapping[str, Any]) -> Slice:
    """Return what a name needs when the whole file has been run."""
    return _closed(source, values, {unit: Reason(name) for unit in _reaching(source, values, name, _END)})


def _closed(source: UserSource, values: Mapping[str, Any], needed: Mapping[CodeUnit, Reason]) -> Slice:
    """Return the slice of the units that are needed and all that these need."""
    kept = dict(needed)
    waiting = list(kept)
    for unit in waiting:  # which grows meanwhile
        wanted = [(kept[unit], iter((*unit.blocks, *source.endings.get(unit, ()))))]
        for names, when in ((unit.reads, unit.when), (unit.reads_later, None)):
            wanted += [(Reason(name, unit), _reaching(source, values, name, when)) for name in sorted(names)]
        for reason, other in ((reason, each) for reason, units in wanted for each in units):
            if other not in kept:
                kept[other] = reason
                waiting.append(other)
    return Slice(source=source, values=values, reasons=kept)


def _reaching(
    source: UserSource, values: Mapping[str, Any], name: str, when: tuple[int, int] | None
) -> Iterator[CodeUnit]:
    """Yield the units that bind or change a name; before a time, back to the last that binds it in any case."""
    if name in values:
        return
    touching = source.touching.get(name, [])
    # A name that only later statements bind is still theirs: a loop, or a function that is called later.
    if name not in source.definitions and name not in _ALWAYS:
        yield from (unit for unit in source.units if unit.is_star)
    for unit in reversed([unit for unit in touching if when is None or unit.order < when]):
        yield unit
        if when is not None and name in unit.binds and unit.is_certain:
            return


def _refused(sliced: Slice, called: str | None = None) -> Refusal | None:
    return first_refused(sliced.source.only(sliced.units, sliced.values), called)


def _with_parts(sliced: Slice, parts: Iterable[tuple[T, Slice]]) -> tuple[Slice, dict[T, Refusal]]:
    """Add those of these parts to a slice that may run; return it, and why the others may not."""
    kept, refused = sliced.reasons, {}
    for key, part in parts:
        if refusal := _refused(part):
            refused[key] = refusal
        else:
            kept = {**part.reasons, **kept}
    return replace(sliced, reasons=kept), refused


def allowed_part(source: UserSource) -> tuple[Slice, Mapping[str, str]]:
    """Return what may run of a neighbouring file, and for each name that is left out the reason."""
    parts = ((name, _needed_by(source, name, {})) for name in source.definitions)
    sliced, refused = _with_parts(Slice(source=source, reasons={}), parts)
    return sliced, {name: f"{each.place} {each.does}: `{each.text}`" for name, each in refused.items()}


def _with_settings(sliced: Slice) -> Slice:
    """Add the statements that change settings of Keras, TensorFlow, `sys.path` and `os.environ`, where they may run."""
    source = sliced.source
    settings = [unit for unit in source.units if unit.sets and unit not in sliced.reasons]
    parts = ((unit.node.lineno, _closed(source, sliced.values, {unit: Reason("")})) for unit in settings)
    added, refused = _with_parts(sliced, parts)
    left_out = "a setting was left out ({}), as it needs what {} ({})"
    notes = (left_out.format(source.place(line), refusal.does, refusal.place) for line, refusal in refused.items())
    return replace(added, notes=tuple(notes))


def _with_definitions(sliced: Slice) -> Slice:
    nodes = [unit.node for unit in sliced.source.units if unit not in sliced.reasons]
    names = [node.name for node in nodes if isinstance(node, _DEFINITION)]
    return _with_parts(sliced, ((name, _needed_by(sliced.source, name, sliced.values)) for name in names))[0]


def _refusal(refusal: Refusal, sliced: Slice, spec: str, name: str) -> str:
    """Return the message about a statement that is not run: the place, the way to it, and what to give instead."""
    chain = sliced.chain(refusal.unit)
    way = f" ({' → '.join(chain)})" if len(chain) > 1 else ""
    kinds = _DEFINITION | ast.Import | ast.ImportFrom
    others = {each for unit in sliced.source.units if isinstance(unit.node, kinds) for each in unit.binds}
    setting = next((each for each in chain[1:] if each not in others), "NAME")
    file = f"--builder-global {chain[-1]}=FILE, " if refusal.downloads and chain[1:] else ""
    is_settings = re.search(r"conf|cfg|arg|param|flag|opt|setting", setting.lower())
    settings = f" (settings may be a dict, such as \"{setting}={{'units': 128}}\")" if is_settings else ""
    return (
        f"builder {spec}: {refusal.place} {refusal.does}, and {name} needs it{way}: `{refusal.text}`: it was not run: "
        f"give {file}--builder-global {setting}=VALUE in place of the statements that compute it{settings}, name a "
        f"class or function that only makes the model, with --builder-arg NAME=VALUE for what it takes, or give "
        f"{_WHOLE}"
    )
