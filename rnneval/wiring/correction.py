"""The corrected line: the author's own call, with the layer's own state going in and coming out.

Only plain statements are corrected: `x, state = self.gru_2(x, initial_state=state)` and its like.
"""

import ast
import re
from collections.abc import Sequence


def corrected(code: str, path: str, slots: Sequence[str], place: int = 1) -> str | None:
    """Rewrite the statement so that the unit takes and gives its own state; return None if it is not plain enough.

    Args:
        code: One statement.
        path: How the author reaches the unit, such as `gru_2` or `enc.rnn`.
        slots: The names of the parts of its state.
        place: Which of its places in the call it is: each has a state of its own.

    Example:
        >>> corrected("x, states = self.gru_2(x, initial_state=states)", "gru_2", ["h"])
        'x, gru_2_state = self.gru_2(x, initial_state=gru_2_state)'
    """
    try:
        body = ast.parse(code).body
    except SyntaxError:
        return None
    match body:
        case [ast.Assign(targets=[target], value=ast.Call() as call) as statement]:
            written = ast.unparse(call.func)
        case _:
            return None
    if written != path and not written.endswith(f".{path}"):
        return None
    stem = re.sub(r"\W+", "_", path if place == 1 else f"{path}_{place}").strip("_")
    parts = ["state"] if len(slots) == 1 else [re.sub(r"[^0-9A-Za-z]+", "_", slot) for slot in slots]
    names = [f"{stem}_{part}" for part in parts]
    if not _retarget(target, names):
        return None
    _refeed(call, names)
    return ast.unparse(ast.fix_missing_locations(statement))


def _retarget(target: ast.expr, names: list[str]) -> bool:
    """Bind the new state to the unit's own names in `x, state = …`, `x, *states = …` or `x, h, c = …`."""
    if not isinstance(target, (ast.Tuple, ast.List)) or len(target.elts) < 2:
        return False
    rest = target.elts[1:]
    own: list[ast.expr] = [ast.Name(name, ast.Store()) for name in names]
    if len(rest) == 1 and isinstance(rest[0], ast.Starred):
        together = ast.Name(f"{names[0].rsplit('_', 1)[0]}_states", ast.Store())
        target.elts[1:] = [ast.Starred(together, ast.Store())]
    elif len(rest) == 1 and len(names) > 1 and isinstance(rest[0], (ast.Tuple, ast.List)):
        rest[0].elts = own
    elif len(rest) == len(names):
        target.elts[1:] = own
    else:
        return False
    return True


def _refeed(call: ast.Call, names: list[str]) -> None:
    """Pass the unit's own state, in the form in which the author passes one."""
    keyword = next((k for k in call.keywords if k.arg in {"initial_state", "states", "state"}), None)
    given = keyword.value if keyword else call.args[1] if len(call.args) > 1 else None
    loads: list[ast.expr] = [ast.Name(name, ast.Load()) for name in names]
    own: ast.expr = loads[0]
    if isinstance(given, ast.Tuple):
        own = ast.Tuple(loads, ast.Load())
    elif isinstance(given, ast.List) or len(names) > 1:
        own = ast.List(loads, ast.Load())
    if keyword:
        keyword.value = own
    elif given is not None:
        call.args[1] = own
    else:
        call.keywords.insert(0, ast.keyword("initial_state", own))
