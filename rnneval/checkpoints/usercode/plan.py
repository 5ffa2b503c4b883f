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
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from rnneval.checkpoints.usercode.allowed import DOWNLOADS, Refusal, first_refused, is_download
from rnneval.checkpoints.usercode.source import (
    BLOCK_ENDINGS,
    ENDINGS,
    LOOPS,
    CodeUnit,
    Function,
    UserSource,
    bodies_of,
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
    kept: Mapping[CodeUnit, Reason]
    given: Mapping[str, Any] = field(default_factory=dict)
    """Values of `--builder-global`, in place of the statements that compute them."""
    notes: tuple[str, ...] = ()

    @cached_property
    def units(self) -> tuple[CodeUnit, ...]:
        """The units that are needed, in the order of the file."""
        return tuple(sorted(self.kept, key=lambda unit: unit.order))

    def chain(self, unit: CodeUnit) -> list[str]:
        """Return the names that lead to a unit, the name that was asked for first."""
        found: dict[CodeUnit, str] = {}
        at: CodeUnit | None = unit
        while at is not None and at not in found:
            found[at], at = self.kept[at]
        return list(dict.fromkeys(filter(None, found.values())))[::-1]

    def lines(self) -> list[int]:
        """Return the numbers of the lines that are run."""
        found: set[int] = set()
        for node in (unit.node for unit in self.units):
            first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
            below = [each.lineno for body in bodies_of(node) for each in body[:1]]
            last = max(min(below) - 1, first) if below else node.end_lineno or first
            found |= {*range(first, last + 1), *(each.lineno for each in getattr(node, "handlers", ()))}
        return sorted(found)

    def shown_lines(self) -> str:
        """Return the lines that are run as text: `lines 1-3, 10`, or `cell 2 (1-3), cell 4 (1)`."""
        cells: dict[int | None, list[list[int]]] = {}
        for cell, line in map(self.source.document.place, self.lines()):
            ranges = cells.setdefault(cell.number, [])
            if ranges and ranges[-1][1] == line - 1:
                ranges[-1][1] = line
            else:
                ranges.append([line, line])
        texts = {cell: ", ".join(f"{a}-{b}" if b > a else str(a) for a, b in ranges) for cell, ranges in cells.items()}
        parts = (f"lines {text}" if cell is None else f"cell {cell} ({text})" for cell, text in texts.items())
        return ", ".join(parts) or "lines "

    def tree(self) -> ast.Module:
        """Return the syntax tree to run."""
        by_node = {unit.node: unit for unit in self.kept}

        def pruned(body: Sequence[ast.stmt]) -> list[ast.stmt]:
            made: list[ast.stmt] = []
            for node in body:
                unit = by_node.get(node)
                if unit is not None:
                    made.append(with_bodies(node, pruned) if bodies_of(node) else node)
                    for name in sorted(unit.binds & set(self.given)):
                        bound = ast.parse(f"{name} = {VALUES}[{name!r}]").body[0]  # its given value again
                        made.append(ast.increment_lineno(bound, node.lineno - 1))
            return made

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
    target, colon, name = spec.rpartition(":")
    if not colon or not target or not name:
        raise UsageError(f"--builder {spec!r}: give FILE.py:NAME, FILE.ipynb:NAME or package.module:NAME")
    return target, name


def _read_file(spec: str) -> UserSource:
    """Read the file of a builder."""
    target = split_spec(spec)[0]
    if not Path(target).is_file():
        raise CheckpointError(f"builder {spec}: {target} is not a file")
    return read_source(Path(target), target)


def plan(spec: str, given: Mapping[str, Any] | None = None, *, everything: bool = False) -> Slice:
    """Find the statements of a file that a builder needs, and refuse them if one of them may not run. Nothing is run.

    With `everything`, all classes and functions that may be run are included, since a model in a file asks for them by
    name; NAME need not exist then. `given` are the values of `--builder-global`.
    """
    name = split_spec(spec)[1]
    first = name.partition(".")[0]
    source = _read_file(spec)
    _require_given(source, given or {})
    if not everything:
        _require_bound(source, spec, first)
    try:
        sliced = _with_settings(_slice_for(source, first, given or {}))
        found = _refused(sliced, called=name)
        if found is not None:
            raise CheckpointError(_refusal(found, sliced, spec, first))
        return _with_definitions(sliced) if everything else sliced
    except RecursionError as error:
        said = "its functions call one another too deeply to be followed: give"
        raise CheckpointError(f"builder {spec}: {said} {_WHOLE}") from error


def _require_given(source: UserSource, given: Iterable[str]) -> None:
    """Refuse a given name that no statement mentions."""
    bound = {each for unit in source.units for each in unit.binds}
    mentioned = bound.union(*(unit.reads | unit.reads_later for unit in source.units))
    for name in given:
        if name not in mentioned:
            close = difflib.get_close_matches(name, bound, n=3)
            hint = f": did you mean {' or '.join(close)}?" if close else ""
            raise UsageError(f"--builder-global {name}: {source.shown} has no such name at its top level{hint}")


def _require_bound(source: UserSource, spec: str, name: str) -> None:
    """Refuse a builder's name that no statement binds; a star import may bring it."""
    if name in source.definitions:
        return
    if name in source.guarded:
        raise CheckpointError(
            f'builder {spec}: {name} is bound under if __name__ == "__main__" alone, which is never run: '
            "move it out of there, or name a function or class"
        )
    if not any(unit.is_star for unit in source.units):
        own = [each for unit in source.units if isinstance(unit.node, _DEFINITION) for each in unit.binds]
        raise no_such_name(spec, name, own, source.notes)


def no_such_name(spec: str, name: str, own: Iterable[str], notes: Sequence[str] = ()) -> CheckpointError:
    """Return the error that a file or module has no such name, with the names that it has."""
    public = [each for each in dict.fromkeys(own) if not each.startswith("_")]
    close = ", ".join(difflib.get_close_matches(name, public, n=3) or public[:5]) or "nothing callable"
    left_out = f" ({'; '.join(notes)})" if notes else ""
    return CheckpointError(f"builder {spec}: there is no {name} in it; there is {close}{left_out}")


def whole(spec: str) -> Slice:
    """Return all statements of a file, for `--run-module`; nothing is searched."""
    source = _read_file(spec)
    return Slice(source=source, kept={unit: Reason(split_spec(spec)[1]) for unit in source.units})


def _slice_for(source: UserSource, name: str, given: Mapping[str, Any]) -> Slice:
    """Return what a name needs when the whole file has been run."""
    closure = _Closure(source, given)
    for unit in closure.reaching(name, _END):
        closure.keep(unit, Reason(name))
    return closure.result()


class _Closure:
    """The search for what is needed.

    A name that is read when a statement runs means what was bound before that statement. A name that is read inside
    of a function means what is bound when it is called: all that binds or changes the name is kept, in its order.
    """

    def __init__(self, source: UserSource, given: Mapping[str, Any]) -> None:
        self._source, self._given = source, given
        self._kept: dict[CodeUnit, Reason] = {}
        self._waiting: list[CodeUnit] = []
        self._unresolved: set[str] = set()

    def reaching(self, name: str, when: tuple[int, int] | None) -> Iterator[CodeUnit]:
        """Yield the units that bind or change a name; before a time, back to the last that binds it in any case."""
        touching = [] if name in self._given else self._source.touching.get(name, [])
        # A name that only later statements bind is still theirs: a loop, or a function that is called later.
        if name not in self._given and not any(name in unit.binds for unit in touching):
            self._unresolved |= {name} - _ALWAYS
        for unit in reversed([unit for unit in touching if when is None or unit.order < when]):
            if isinstance(unit.node, ast.Delete) and name in {ast.unparse(each) for each in unit.node.targets}:
                continue
            yield unit
            if when is not None and name in unit.binds and unit.is_certain:
                return

    def keep(self, unit: CodeUnit, reason: Reason) -> None:
        """Keep a unit, and look for what it needs."""
        if unit not in self._kept:
            self._kept[unit] = reason
            self._waiting.append(unit)

    def result(self) -> Slice:
        """Return the slice once everything that is kept has what it needs."""
        while self._waiting or self._keep_endings():
            unit = self._waiting.pop(0)
            for block in unit.blocks:
                self.keep(block, self._kept[unit])
            for names, when in ((unit.reads, unit.when), (unit.reads_later, None)):
                for name in sorted(names):
                    for found in self.reaching(name, when):
                        self.keep(found, Reason(name, unit))
        stars = [unit for unit in self._source.units if unit.is_star and unit not in self._kept]
        if self._unresolved and stars:
            for unit in stars:
                self.keep(unit, Reason("*"))
            return self.result()
        return Slice(source=self._source, given=self._given, kept=self._kept)

    def _keep_endings(self) -> bool:
        """Keep `break` and `continue` of kept loops, and `raise` in kept blocks; return whether there were any."""
        for unit in self._source.units:
            if unit in self._kept or not isinstance(unit.node, BLOCK_ENDINGS) or not unit.blocks:
                continue
            if isinstance(unit.node, ast.Raise):
                known = {name for each in self._kept for name in each.binds}
                needed = unit.blocks[-1] in self._kept and not unit.reads - _ALWAYS - known
            else:
                loops = [block for block in unit.blocks if isinstance(block.node, LOOPS)]
                needed = bool(loops) and loops[-1] in self._kept
            if needed:
                self.keep(unit, self._kept.get(unit.blocks[-1], Reason("")))
        return bool(self._waiting)


def _refused(sliced: Slice, called: str | None = None) -> Refusal | None:
    return first_refused(sliced.source.only(sliced.units, sliced.given), called)


def _with_parts(sliced: Slice, parts: Iterable[tuple[T, Slice]]) -> tuple[Slice, dict[T, Refusal]]:
    """Add those of these parts to a slice that may run; return it, and why the others may not."""
    kept, refused = sliced.kept, {}
    for key, part in parts:
        if found := _refused(part):
            refused[key] = found
        else:
            kept = {**part.kept, **kept}
    return replace(sliced, kept=kept), refused


def allowed_part(source: UserSource) -> tuple[Slice, Mapping[str, str]]:
    """Return what may run of a neighbouring file, and for each name that is left out the reason."""
    names = dict.fromkeys(name for unit in source.units for name in unit.binds)
    parts = ((name, _slice_for(source, name, {})) for name in names)
    sliced, refused = _with_parts(Slice(source=source, kept={}), parts)
    return sliced, {name: f"{found.place} {found.does}: `{found.text}`" for name, found in refused.items()}


def _with_settings(sliced: Slice) -> Slice:
    """Add the statements that change settings of Keras, TensorFlow, `sys.path` and `os.environ`, where they may run."""
    parts = []
    for unit in sliced.source.units:
        if unit.sets and unit not in sliced.kept:
            closure = _Closure(sliced.source, sliced.given)
            closure.keep(unit, Reason(""))
            parts.append((sliced.source.place(unit.node.lineno), closure.result()))
    added, refused = _with_parts(sliced, parts)
    left_out = "a setting was left out ({}), as it needs what {} ({})"
    notes = (left_out.format(place, found.does, found.place) for place, found in refused.items())
    return replace(added, notes=tuple(notes))


def _with_definitions(sliced: Slice) -> Slice:
    nodes = [unit.node for unit in sliced.source.units if unit not in sliced.kept]
    names = [node.name for node in nodes if isinstance(node, _DEFINITION)]
    return _with_parts(sliced, ((name, _slice_for(sliced.source, name, sliced.given)) for name in names))[0]


def _refusal(found: Refusal, sliced: Slice, spec: str, name: str) -> str:
    """Return the message about a statement that is not run: the place, the way to it, and what to give instead."""
    chain = sliced.chain(found.unit) if found.unit is not None else []
    way = f" ({' → '.join(chain)})" if len(chain) > 1 else ""
    kinds = _DEFINITION | ast.Import | ast.ImportFrom
    others = {each for unit in sliced.source.units if isinstance(unit.node, kinds) for each in unit.binds}
    values = [each for each in chain[1:] if each not in others and each != "*"]
    given, what, start = ("NAME", "a value", "name a class or function that only makes the model, or give")
    if values:
        given, what, start = values[0], values[0], "give"
        start = f"give --builder-global {chain[-1]}=FILE," if found.does.startswith(DOWNLOADS) else start
    if re.search(r"conf|cfg|arg|param|flag|opt|setting", given.lower()):
        what = f"{what} (settings may be a dict, such as \"{given}={{'units': 128}}\")"
    argument = "a class or function as NAME with --builder-arg NAME=VALUE"
    if any(isinstance(unit.node, _DEFINITION) for unit in sliced.source.definitions.get(name, ())):
        argument = f"--builder-arg NAME=VALUE if {name} takes it as an argument"
    return (
        f"builder {spec}: {found.place} {found.does}, and {name} needs it{way}: `{found.text}`: it was not run: "
        f"{start} --builder-global {given}=VALUE in place of the statements that compute {what}, {argument}, "
        f"or {_WHOLE}"
    )
