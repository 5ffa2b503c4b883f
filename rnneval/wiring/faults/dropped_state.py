"""A layer's state is not handed on: it begins anew at every call."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "dropped-state"
SEVERITY = "error"
ORDER = 80
CORRECTS = True


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find fresh states, the layer's own not returned, in a model that hands some state on."""
    facts = evidence.facts
    if not (facts.takes_states or facts.gives_states or evidence.has("carried", "carried-transformed")):
        return
    for group in evidence.groups("dropped"):
        seen = f"{group.begins()}, and its last state is not among what is handed on ({group.calls})"
        yield evidence.detection(seen, group)
