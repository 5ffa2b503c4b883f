"""The independent oracle for the walk: alter one emitted state at a time, and see which incoming states change."""

from typing import Any

from rnneval.models.keras.lm import eagerly
from rnneval.wiring.keras.probe import Probe, intervene
from rnneval.wiring.keras.subject import make_ready
from tests.wiring.corpus.case import Case


def compare(case: Case) -> dict[str, Any]:
    """Source sets by tape and by intervention, slot by slot."""
    model = case.build()  # before: a builder may switch tracing on and off itself
    with eagerly():
        ready = make_ready(model, None)
        by_tape = {(a.event, a.slot): a.sources for a in Probe(ready, 0, listen=True).arrivals}
        try:
            by_hand = intervene(ready, 0, by_tape)
        except RuntimeError as error:
            return {"name": case.name, "slots": 0, "differ": [], "why": str(error)}
    differ = [
        f"{key}: tape {_said(by_tape[key])}, intervention {_said(by_hand[key])}"
        for key in by_tape
        if by_tape[key] != by_hand[key]
    ]
    return {"name": case.name, "slots": len(by_tape), "differ": differ, "why": ""}


def _said(sources: Any) -> list[tuple[int, int]]:
    return sorted((source.event, source.slot) for source in sources)
