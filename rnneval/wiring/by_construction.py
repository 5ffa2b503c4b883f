"""The wiring of models that rnneval itself runs layer by layer: it is right, and there is nothing to observe."""

from collections.abc import Iterable

from rnneval.models.numpy.lm import NumpyLM
from rnneval.records.wiring import WiredLayer, Wiring
from rnneval.wiring.facts import UnitFact, parse_declarations, require_known


def check_numpy(lm: NumpyLM, *, declare: Iterable[str] = ()) -> Wiring:
    """Return the wiring record of a chain of layers that NumPy runs, each with its own last state: nothing is run."""
    declared = parse_declarations(declare)
    require_known(declared, [UnitFact(name=e.name, path=e.path, kind=e.kind, slots=e.slots) for e in lm.layers])
    states = ", ".join(f"{layer.name}.{slot}" for layer in lm.layers for slot in layer.slots)
    return Wiring(
        verdict="pass",
        reason=f"right by construction: rnneval runs each layer itself, and gives it its own last state ({states})",
        layers=tuple(WiredLayer(name=e.name, path=e.path, kind=e.kind, slots=e.slots) for e in lm.layers),
        flow=(),
        findings=(),
        oracles={},
        declared=declared.given,
        calls=0,
        wired_by="rnneval",
    )
