"""From `FILE.py:NAME` to the slice that may be run, or to the message that says why not and what to do."""

import ast
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnneval.errors import CheckpointError, UsageError
from rnneval.usercode.effects import Function
from rnneval.usercode.scan import Scanner, Violation, literal_folders
from rnneval.usercode.slice import Reason, Slice, joined, slice_for, slice_of_unit
from rnneval.usercode.source import ENDINGS, Source, read_source

_WHOLE = "--run-module to import the whole file as it is, with all that it trains and writes"


def is_file(spec: str) -> bool:
    """Return whether a builder is in a file, rather than in a module that is imported by its name.

    >>> [is_file(spec) for spec in ("train.py:MyModel", "train.ipynb:MyModel", "package.module:MyModel")]
    [True, True, False]
    """
    return spec.rpartition(":")[0].endswith(ENDINGS)


def split_spec(spec: str) -> tuple[str, str]:
    """Return the file or module and the name of a builder.

    Raises:
        UsageError: one is missing.
    """
    target, colon, name = spec.rpartition(":")
    if not colon or not target or not name:
        raise UsageError(f"--builder {spec!r}: give FILE.py:NAME, FILE.ipynb:NAME or package.module:NAME")
    return target, name


def read_file(spec: str) -> Source:
    """Read the file of a builder.

    Raises:
        CheckpointError: there is no such file, or it cannot be read or parsed.
    """
    target, _ = split_spec(spec)
    path = Path(target)
    if not path.is_file():
        raise CheckpointError(f"builder {spec}: {target} is not a file")
    return read_source(path, target)


def plan(
    spec: str, given: Mapping[str, Any] | None = None, *, everything: bool = False, source: Source | None = None
) -> Slice:
    """Find the statements of a file that a builder needs, and search them for what may not be run. Nothing is run.

    Args:
        spec: `FILE.py:NAME` or `FILE.ipynb:NAME`.
        given: Values of `--builder-global`.
        everything: Whether to include all classes and functions of the file whose statements may be run. A model in
            a file asks for them by name. NAME need not exist then.
        source: The file, if it was read before.

    Raises:
        CheckpointError: the file cannot be read or has no such name, or a statement that is needed trains, writes,
            deletes, downloads or starts a process, or cannot be decided.
        UsageError: a name of `given` is not bound in the file.
    """
    try:
        return _plan(spec, source or read_file(spec), given or {}, everything=everything)
    except RecursionError as error:
        said = "its functions call one another too deeply to be followed: give"
        raise CheckpointError(f"builder {spec}: {said} {_WHOLE}") from error


def _plan(spec: str, source: Source, given: Mapping[str, Any], *, everything: bool) -> Slice:
    _, name = split_spec(spec)
    first = name.partition(".")[0]
    _require_globals(source, given)
    if not everything or first in _bound(source):
        _require_name(source, spec, first)
    sliced = _with_settings(slice_for(source, [first], given))
    _require_decided(sliced, spec, first)
    found = _scanner(sliced).violation(sliced.units, called=name)
    if found is not None:
        raise CheckpointError(_refusal(found, sliced, spec, first))
    return _with_definitions(sliced) if everything else sliced


def whole(spec: str, source: Source) -> Slice:
    """Return all statements of a file, for `--run-module`; nothing is searched."""
    _, name = split_spec(spec)
    return Slice(source=source, kept={unit: Reason(name=name) for unit in source.units})


def _scanner(sliced: Slice) -> Scanner:
    return Scanner(sliced.source, sliced.units, literal_folders(sliced.source, sliced.units), sliced.given)


def _bound(source: Source) -> set[str]:
    return {name for unit in source.units for name in unit.names.binds | unit.names.binds_later}


def _require_globals(source: Source, given: Mapping[str, Any]) -> None:
    known = _bound(source)
    mentioned = known.union(*(unit.names.reads | unit.names.reads_later for unit in source.units))
    for name in given:
        if name not in mentioned:
            close = difflib.get_close_matches(name, known, n=3)
            hint = f": did you mean {' or '.join(close)}?" if close else ""
            raise UsageError(f"--builder-global {name}: {source.shown} has no such name at its top level{hint}")


def _require_name(source: Source, spec: str, name: str) -> None:
    if name in _bound(source):
        return
    if name in source.guarded:
        raise CheckpointError(
            f'builder {spec}: {name} is bound under if __name__ == "__main__" alone, which is never run: '
            "move it out of there, or name a function or class"
        )
    if source.undecided:
        line = source.undecided[0]
        said = f"{source.place(line)} may bind it: `{source.line(line)}`"
        raise CheckpointError(
            f"builder {spec}: no statement binds {name}, and it cannot be decided whether {said}: give {_WHOLE}"
        )
    if any(unit.is_star for unit in source.units):
        return
    own = [name for unit in source.units for name in unit.names.binds if isinstance(unit.node, Function | ast.ClassDef)]
    own = [each for each in dict.fromkeys(own) if not each.startswith("_")]
    close = difflib.get_close_matches(name, own, n=3) or own[:5]
    left_out = f" ({'; '.join(source.notes)})" if source.notes else ""
    raise CheckpointError(
        f"builder {spec}: there is no {name} in it; there is {', '.join(close) or 'nothing callable'}{left_out}"
    )


def _require_decided(sliced: Slice, spec: str, name: str) -> None:
    """Refuse a slice with names that only code which cannot be read may bind."""
    source = sliced.source
    missing = sorted(sliced.unresolved - source.guarded)
    if missing and source.undecided:
        line = source.undecided[0]
        raise CheckpointError(
            f"builder {spec}: {name} needs {missing[0]}, which no statement binds, and it cannot be decided whether "
            f"{source.place(line)} does: `{source.line(line)}`: give --builder-global {missing[0]}=VALUE, or {_WHOLE}"
        )


def _with_settings(sliced: Slice) -> Slice:
    """Add the statements that change settings of Keras, TensorFlow, `sys.path` and `os.environ`, where they may run."""
    parts, notes = [], []
    for unit in sliced.source.units:
        if not unit.changes.settings or unit in sliced.kept:
            continue
        part = slice_of_unit(sliced.source, unit, sliced.given)
        found = _scanner(part).violation(part.units)
        if found is None:
            parts.append(part)
        else:
            place = sliced.source.place(unit.node.lineno)
            notes.append(f"a setting was left out ({place}), as it needs what {found.does} ({found.place})")
    return joined(sliced, *parts, notes=notes)


def _with_definitions(sliced: Slice) -> Slice:
    """Add every class and function at the top level that may be run."""
    parts = []
    for unit in sliced.source.units:
        if isinstance(unit.node, Function | ast.ClassDef) and unit not in sliced.kept:
            part = slice_for(sliced.source, [unit.node.name], sliced.given)
            called = unit.node.name if isinstance(unit.node, ast.ClassDef) else None
            if _scanner(part).violation(part.units, called=called) is None:
                parts.append(part)
    return joined(sliced, *parts)


def _refusal(found: Violation, sliced: Slice, spec: str, name: str) -> str:
    chain = sliced.chain(found.unit) if found.unit is not None else []
    way = f" ({' → '.join(chain)})" if len(chain) > 1 else ""
    values = _values(chain, sliced)
    start = "give" if values else "name a class or function that only makes the model, or give"
    given, what = (values[0], values[0]) if values else ("NAME", "a value")
    ways = [f"--builder-global {given}=VALUE in place of the statements that compute {what}"]
    if any(isinstance(unit.node, Function | ast.ClassDef) for unit in sliced.units if name in unit.names.binds):
        ways.append(f"--builder-arg NAME=VALUE if {name} takes it as an argument")
    else:
        ways.append("a class or function as NAME with --builder-arg NAME=VALUE")
    return (
        f"builder {spec}: {found.place} {found.does}, and {name} needs it{way}: `{found.text}`: it was not run: "
        f"{start} {', '.join(ways)}, or {_WHOLE}"
    )


def _values(chain: list[str], sliced: Slice) -> list[str]:
    """Return the names of a chain that stand for values: neither functions nor classes nor modules."""
    kinds = Function | ast.ClassDef | ast.Import | ast.ImportFrom
    others = {name for unit in sliced.source.units if isinstance(unit.node, kinds) for name in unit.names.binds}
    return [name for name in chain[1:] if name not in others and name != "*"]
