"""Slicing: the units of a file that a name needs, and the pruned tree that is made of them."""

import ast
import builtins
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any

from rnneval.usercode.effects import ENDINGS, LOOPS, bodies_of, header_of, is_main_guard
from rnneval.usercode.source import Source, Unit

VALUES = "__rnneval_values__"
"""Name in the module under which the values of `--builder-global` stand."""
_ALWAYS = frozenset((*dir(builtins), "__name__", "__file__", "__doc__", "__spec__", "__builtins__", "__annotations__"))


@dataclass(frozen=True, kw_only=True, eq=False)
class Slice:
    """The units that are needed, each with the reason."""

    source: Source
    given: Mapping[str, Any] = field(default_factory=dict)
    """Values of `--builder-global`, in place of the statements that compute them."""
    kept: Mapping[Unit, "Reason"] = field(default_factory=dict)
    unresolved: AbstractSet[str] = frozenset()
    """Names that are read and that no statement binds: they may come from `exec` or `from module import *`."""
    notes: tuple[str, ...] = ()

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """The units that are needed, in the order of the file."""
        return tuple(sorted(self.kept, key=lambda unit: unit.order))

    def chain(self, unit: Unit) -> list[str]:
        """Return the names that lead to a unit, the name that was asked for first."""
        names: list[str] = []
        seen: set[Unit] = set()
        at: Unit | None = unit
        while at is not None and at not in seen:
            seen.add(at)
            reason = self.kept[at]
            names += [reason.name] if reason.name and reason.name not in names else []
            at = reason.of
        return names[::-1]

    def lines(self) -> list[int]:
        """Return the numbers of the lines that are run."""
        found: set[int] = set()
        for unit in self.units:
            node = unit.node
            first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
            below = [each.lineno for body in bodies_of(node) for each in body[:1]]
            last = max(min(below) - 1, first) if below else node.end_lineno or first
            found |= set(range(first, last + 1))
            found |= {each.lineno for each in getattr(node, "handlers", ())}
        return sorted(found)

    def shown_lines(self) -> str:
        """Return the lines that are run as text: `lines 1-3, 10`, or `cell 2 (1-3), cell 4 (1)`."""
        document = self.source.document
        places = [document.place(line) for line in self.lines()]
        if not any(cell.number for cell, _ in places):
            return f"lines {_ranges([within for _, within in places])}"
        cells = groupby(places, key=lambda place: place[0].number)
        return ", ".join(f"cell {number} ({_ranges([within for _, within in each])})" for number, each in cells)

    def tree(self) -> ast.Module:
        """Return the syntax tree to run."""
        return ast.fix_missing_locations(ast.Module(body=self._pruned(self.source.body), type_ignores=[]))

    def _pruned(self, body: Sequence[ast.stmt]) -> list[ast.stmt]:
        made: list[ast.stmt] = []
        for node in body:
            if is_main_guard(node):
                made += self._pruned(getattr(node, "orelse", []))
                continue
            unit = self._by_node.get(node)
            if unit is None:
                continue
            made.append(self._pruned_block(node) if bodies_of(node) else node)
            made += [_restored(name, node) for name in sorted(unit.names.binds & set(self.given))]
        return made

    def _pruned_block(self, node: ast.stmt) -> ast.stmt:
        """Return a block whose bodies hold only what is needed."""
        made: Any = header_of(node)
        for name in ("body", "orelse", "finalbody"):
            if getattr(node, name, None):
                setattr(made, name, self._pruned(getattr(node, name)))
        for own, given in zip(getattr(made, "handlers", ()), getattr(node, "handlers", ()), strict=True):
            own.body = self._pruned(given.body)
        for own, given in zip(getattr(made, "cases", ()), getattr(node, "cases", ()), strict=True):
            own.body = self._pruned(given.body)
        for part in (made, *getattr(made, "handlers", ()), *getattr(made, "cases", ())):
            if hasattr(part, "body") and not part.body:
                part.body = [ast.copy_location(ast.Pass(), node)]
        if isinstance(made, ast.Try | ast.TryStar) and not made.handlers and not made.finalbody:
            made.finalbody = [ast.copy_location(ast.Pass(), node)]
        copied: ast.stmt = ast.copy_location(made, node)
        return copied

    @cached_property
    def _by_node(self) -> dict[ast.stmt, Unit]:
        return {unit.node: unit for unit in self.kept}


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Reason for which a unit is kept: a name, and the unit that reads it."""

    name: str
    of: Unit | None = None


def slice_for(source: Source, names: Iterable[str], given: Mapping[str, Any] | None = None) -> Slice:
    """Return what names need when the whole file has been run."""
    closure = _Closure(source, given or {})
    end = len(source.units)
    for name in names:
        for unit in closure.reaching(name, end):
            closure.keep(unit, end, Reason(name=name))
    return closure.result()


def slice_of_unit(source: Source, unit: Unit, given: Mapping[str, Any]) -> Slice:
    """Return what one statement needs, itself included."""
    closure = _Closure(source, given)
    closure.keep(unit, unit.when, Reason(name=""))
    return closure.result()


def joined(first: Slice, *others: Slice, notes: Iterable[str] = ()) -> Slice:
    """Return the units of several slices of one file as one."""
    kept = dict(first.kept)
    for other in others:
        kept = {**other.kept, **kept}
    unresolved = frozenset().union(first.unresolved, *(other.unresolved for other in others))
    return Slice(source=first.source, given=first.given, kept=kept, unresolved=unresolved, notes=(*first.notes, *notes))


class _Closure:
    """The search for what is needed.

    A name that is read when a statement runs means what was bound before that statement. A name that is read inside
    of a function means what is bound when the function is called: a unit is therefore kept together with the times
    at which the functions in it may be called.
    """

    def __init__(self, source: Source, given: Mapping[str, Any]) -> None:
        self._source, self._given = source, given
        self._kept: dict[Unit, Reason] = {}
        self._done: set[tuple[Unit, int]] = set()
        self._waiting: list[tuple[Unit, int]] = []
        self._unresolved: set[str] = set()
        self._touching: dict[str, list[Unit]] = {}
        for unit in source.units:
            for name in unit.names.binds | unit.changes.names:
                self._touching.setdefault(name, []).append(unit)
        self._bound_by_call = {name for unit in source.units for name in unit.names.binds_later}
        self._callable = self._with_functions()

    def _with_functions(self) -> set[Unit]:
        """Return the units whose values hold functions, their own or those of what they read: they may run later."""
        reading: dict[str, list[Unit]] = {}
        for unit in self._source.units:
            for name in unit.names.reads | unit.names.reads_later:
                reading.setdefault(name, []).append(unit)
        waiting = [unit for unit in self._source.units if unit.names.reads_later]
        found = set(waiting)
        while waiting:
            touched = waiting.pop()
            for name in touched.names.binds | touched.changes.names:
                new = [unit for unit in reading.get(name, ()) if unit not in found]
                found |= set(new)
                waiting += new
        return found

    def reaching(self, name: str, when: int) -> Iterator[Unit]:
        """Yield the units that bind or change a name before a time, back to the last that binds it in any case."""
        if name in self._given:
            return
        touching = self._touching.get(name, [])
        # A name that only later statements bind is still theirs: a loop, or a function that is called later.
        if not any(name in unit.names.binds for unit in touching) and name not in self._bound_by_call:
            self._unresolved |= {name} - _ALWAYS
        for unit in reversed([unit for unit in touching if unit.order < when]):
            if isinstance(unit.node, ast.Delete) and name in {ast.unparse(each) for each in unit.node.targets}:
                continue
            yield unit
            if name in unit.names.binds and unit.is_certain:
                return

    def keep(self, unit: Unit, when: int, reason: Reason) -> None:
        """Keep a unit, whose functions may be called at `when`."""
        self._kept.setdefault(unit, reason)
        when = when if unit in self._callable else -1  # nothing in it is run later: the time makes no difference
        if (unit, when) not in self._done:
            self._done.add((unit, when))
            self._waiting.append((unit, when))

    def result(self) -> Slice:
        """Return the slice once everything that is kept has what it needs."""
        while self._waiting or self._keep_endings():
            while self._waiting:
                self._follow(*self._waiting.pop(0))
        stars = [unit for unit in self._source.units if unit.is_star and unit not in self._kept]
        notes = []
        if self._unresolved and stars:
            for unit in stars:
                self.keep(unit, unit.when, Reason(name="*"))
                notes.append(
                    f"{ast.unparse(unit.node)} was run, as it may bind {', '.join(sorted(self._unresolved)[:3])}"
                )
            return joined(self.result(), notes=notes)
        return Slice(source=self._source, given=self._given, kept=self._kept, unresolved=frozenset(self._unresolved))

    def _follow(self, unit: Unit, when: int) -> None:
        for block in unit.blocks:
            self.keep(block, block.when, self._kept[unit])
        for name in sorted(unit.names.reads):
            for found in self.reaching(name, unit.when):
                self.keep(found, unit.when, Reason(name=name, of=unit))
                self.keep(found, when, Reason(name=name, of=unit))
        for name in sorted(unit.names.reads_later):
            for found in self.reaching(name, when):
                self.keep(found, when, Reason(name=name, of=unit))

    def _keep_endings(self) -> bool:
        """Keep `break` and `continue` of kept loops, and `raise` in kept blocks; return whether there were any."""
        for unit in self._source.units:
            if unit in self._kept or not isinstance(unit.node, ENDINGS) or not unit.blocks:
                continue
            if isinstance(unit.node, ast.Raise):
                needed = unit.blocks[-1] in self._kept and not unit.names.reads - set(_ALWAYS) - self._known()
            else:
                loops = [block for block in unit.blocks if isinstance(block.node, LOOPS)]
                needed = bool(loops) and loops[-1] in self._kept
            if needed:
                self.keep(unit, unit.when, self._kept.get(unit.blocks[-1], Reason(name="")))
        return bool(self._waiting)

    def _known(self) -> set[str]:
        return {name for unit in self._kept for name in unit.names.binds}


def _restored(name: str, node: ast.stmt) -> ast.stmt:
    """Return the statement that binds a name to its value of `--builder-global` again."""
    made = ast.parse(f"{name} = {VALUES}[{name!r}]").body[0]
    return ast.increment_lineno(made, node.lineno - 1)


def _ranges(numbers: Sequence[int]) -> str:
    """Return numbers in order as ranges.

    >>> _ranges([1, 2, 3, 7, 9, 10])
    '1-3, 7, 9-10'
    """
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in ranges)
