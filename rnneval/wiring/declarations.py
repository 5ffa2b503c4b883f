"""What `--declare` means: `causal=false`, `stateless=LAYER`, `shared=LAYER`, `mixed=LAYER`.

Right and wrong bidirectional models are the same code; only what their author means separates them. So these are
inputs of the check, and are printed with its verdict.
"""

from collections.abc import Iterable, Sequence

from rnneval.errors import UsageError
from rnneval.wiring.facts import Declarations, UnitFact

_OF_A_LAYER = ("stateless", "shared", "mixed")
_ALLOWED = "causal=false, stateless=LAYER, shared=LAYER, mixed=LAYER"


def parse_declarations(given: Iterable[str]) -> Declarations:
    """Read declarations, each `KEY=VALUE`.

    Raises:
        UsageError: a key or value that is not allowed.

    Example:
        >>> parse_declarations(["causal=false", "stateless=encoder"]).stateless
        frozenset({'encoder'})
    """
    given = tuple(given)
    names: dict[str, set[str]] = {key: set() for key in _OF_A_LAYER}
    causal = True
    for declaration in given:
        key, separator, value = (part.strip() for part in declaration.partition("="))
        if key in names and value:
            names[key].add(value)
        elif key == "causal" and value.lower() in {"true", "false"}:
            causal = value.lower() == "true"
        else:
            what = declaration if separator else f"{declaration} (there is no = in it)"
            raise UsageError(f"--declare {what}: allowed are {_ALLOWED}")
    return Declarations(causal=causal, given=given, **{key: frozenset(value) for key, value in names.items()})


def require_known(declared: Declarations, units: Sequence[UnitFact]) -> None:
    """Refuse a declaration about a layer that the model does not have: it would be believed to hold.

    Raises:
        UsageError: names the layers that there are.
    """
    known = frozenset[str]().union(*(unit.names for unit in units))
    unknown = sorted((declared.stateless | declared.shared | declared.mixed) - known)
    if unknown:
        there_are = ", ".join(sorted({unit.name for unit in units})) or "none"
        raise UsageError(
            f"--declare: the model has no layer {', '.join(unknown)}; its recurrent layers are: {there_are}"
        )
