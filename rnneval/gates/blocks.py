"""Where in the text two runs differ most."""

import hashlib

import numpy as np

from rnneval.errors import UsageError
from rnneval.gates.noninferiority import loss_differences
from rnneval.gates.pairing import Paired
from rnneval.records import Run
from rnneval.records._base import Value


class BlockChange(Value, frozen=True, kw_only=True):
    """One block whose loss changed."""

    start: int
    """In bytes of the final text."""
    end: int
    document: int
    nats: float
    """Candidate − baseline, summed over the block: below 0 where the candidate gains."""
    units: float
    """Tokens in the block; scored bytes where the tokens differ."""
    text: str | None = None
    """What stands there, where the text was given."""


def changes(paired: Paired, count: int, text: bytes | None) -> tuple[BlockChange, ...]:
    """Give the blocks whose loss changed most, largest change first; blocks that did not change are left out."""
    differences, units = loss_differences(paired)
    order = np.argsort(-np.abs(differences), kind="stable")[:count]
    return tuple(
        BlockChange(
            start=int(paired.start[i]),
            end=int(paired.end[i]),
            document=int(paired.document[i]),
            nats=float(differences[i]),
            units=float(units[i]),
            text=_excerpt(text, int(paired.start[i]), int(paired.end[i])),
        )
        for i in order
        if differences[i] != 0
    )


def scored_text(text: str, run: Run) -> bytes:
    """Give the bytes that block bounds count in.

    Raises:
        UsageError: it is not the text that the run scored.
    """
    found = text.encode()
    if hashlib.sha256(found).hexdigest() != run.text.sha256:
        raise UsageError(
            f"the text given has {len(found)} bytes and another hash than the one that was scored "
            f"({run.text.bytes} bytes, {run.text.sha256[:8]}…): give the same files, in the same order"
        )
    return found


def _excerpt(text: bytes | None, start: int, end: int) -> str | None:
    # Blocks end between characters by construction; the handler is for texts whose cuts come from elsewhere.
    return None if text is None else text[start:end].decode(errors="replace")
