"""A layer begins anew at every call, as declared or because the model carries no state."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "uncarried-state"
SEVERITY = "info"
ORDER = 200


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find fresh states that are declared, and those of a model that carries nothing at all."""
    facts = evidence.facts
    nothing = not (facts.takes_states or facts.gives_states or evidence.has("carried", "carried-transformed"))
    kinds = ("declared", "uncarried", "dropped") if nothing else ("declared", "uncarried")
    for group in evidence.groups(*kinds) if facts.wired_by == "author" else ():
        if not any(item.arrival.sources for item in group.items):
            yield evidence.detection(f"{group.into.name} begins anew at every call ({group.slots})", group)
