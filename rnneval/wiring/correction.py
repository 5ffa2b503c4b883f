"""The corrected line: the author's own call, with a state of the layer's own going in and coming out.

Given only where the statement is plain enough: `x, state = self.gru_2(x, initial_state=state)` and its like.
"""

import ast
import re
from collections.abc import Sequence


def corrected(code: str, path: str, slots: Sequence[str], place: int = 1) -> str | None:
    """Rewrite the statement so that the unit takes and gives its own state; None where that cannot be said.

    Args:
        code: One statement.
        path: How the author reaches the unit, such as `gru_2` or `enc.rnn`.
        slots: The names of the parts of its state.
        place: Which of its places in the call it is: each has a state of its own.

    Example:
        >>> corrected("x, states = self.gru_2(x, initial_state=states)", "gru_2", ["h"])
        'x, gru_2_state = self.gru_2(x, initial_state=gru_2_state)'
    """
    statement = _statement(code)
    if statement is None or not _calls(statement.value, path):
        return None
    names = _names(path if place == 1 else f"{path}_{place}", slots)
    call = statement.value
    target = statement.targets[0]
    assert isinstance(call, ast.Call)  # noqa: S101 - _calls says so; mypy cannot see it
    if not _retarget(target, names) or not _refeed(call, names):
        return None
    return ast.unparse(ast.fix_missing_locations(statement))


def _statement(code: str) -> ast.Assign | None:
    try:
        body = ast.parse(code).body
    except SyntaxError:
        return None
    alone = body[0] if len(body) == 1 else None
    return alone if isinstance(alone, ast.Assign) and len(alone.targets) == 1 else None


def _calls(value: ast.expr, path: str) -> bool:
    if not isinstance(value, ast.Call):
        return False
    written = ast.unparse(value.func)
    return (
        written == path or written.endswith(f".{path}") or re.fullmatch(rf"\w+\.{re.escape(path)}", written) is not None
    )


def _names(path: str, slots: Sequence[str]) -> list[str]:
    stem = re.sub(r"\W+", "_", path).strip("_")
    return [f"{stem}_state"] if len(slots) == 1 else [f"{stem}_{re.sub(r'[^0-9A-Za-z]+', '_', slot)}" for slot in slots]


def _retarget(target: ast.expr, names: list[str]) -> bool:
    """Give the new state names of the unit's own, in `x, state = …`, `x, *states = …` or `x, h, c = …`."""
    if not isinstance(target, (ast.Tuple, ast.List)) or len(target.elts) < 2:
        return False
    rest = target.elts[1:]
    if len(rest) == 1 and isinstance(rest[0], ast.Starred):
        target.elts[1:] = [ast.Starred(_name(f"{names[0].rsplit('_', 1)[0]}_states", ast.Store()), ast.Store())]
        return True
    if len(rest) == 1 and len(names) > 1 and isinstance(rest[0], (ast.Tuple, ast.List)):
        rest[0].elts = [_name(name, ast.Store()) for name in names]
        return True
    if len(rest) != len(names):
        return False
    target.elts[1:] = [_name(name, ast.Store()) for name in names]
    return True


def _refeed(call: ast.Call, names: list[str]) -> bool:
    keyword = next((k for k in call.keywords if k.arg in {"initial_state", "states", "state"}), None)
    given = keyword.value if keyword else call.args[1] if len(call.args) > 1 else None
    own = _own(given, names)
    if own is None:
        return False
    if keyword:
        keyword.value = own
    elif given is not None:
        call.args[1] = own
    else:
        call.keywords.insert(0, ast.keyword("initial_state", own))
    return True


def _own(given: ast.expr | None, names: list[str]) -> ast.expr | None:
    loads: list[ast.expr] = [_name(name, ast.Load()) for name in names]
    if isinstance(given, ast.Tuple):
        return ast.Tuple(loads, ast.Load())
    if isinstance(given, ast.List) or len(names) > 1:
        return ast.List(loads, ast.Load())
    return loads[0]


def _name(name: str, context: ast.expr_context) -> ast.Name:
    return ast.Name(name, context)
