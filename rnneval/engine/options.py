"""What a user may say about how a text is read: where the state starts anew, and how many rows there are."""

from dataclasses import dataclass

from rnneval.engine.arrangement import require_kernel
from rnneval.engine.plan import Spans, automatic_rows, carried_spans, reset_spans
from rnneval.engine.stitch import Progress
from rnneval.errors import UsageError
from rnneval.models.lm import RecurrentLM
from rnneval.text import EncodedText


@dataclass(frozen=True, kw_only=True)
class StateOptions:
    """Where the state starts anew, and how long a step is."""

    state: str = "carry"
    segment: int | None = None
    window: int | None = None
    """N of a window model: its state is the last N − 1 ids, so that nothing is carried or reset."""
    pad: bool = False
    """Whether the tokens before the first whole window are scored too, after ids 0."""

    def __post_init__(self) -> None:
        if self.window is None and self.pad:
            raise UsageError("--pad is for window models (N tokens in, one prediction out): this model carries a state")
        if self.window is not None and self.state == "reset":
            raise UsageError(f"--state reset: a window model knows nothing but the last {self.window} tokens anyway")
        if self.state not in {"carry", "reset"}:
            raise UsageError(f"--state {self.state!r} is not known: give carry or reset")
        if self.segment is not None and self.segment < 1:
            raise UsageError(f"--segment {self.segment} is not a length: give at least 1 token")
        if self.state == "reset" and self.segment is None:
            raise UsageError("--state reset needs --segment N: after how many tokens the state starts anew")

    @property
    def signature(self) -> str:
        """What two numbers must share: the length of a step is part of it only where the state is reset with it."""
        if self.window is not None:
            return f"state:window-{self.window}{'+pad' if self.pad else ''}"
        return f"state:reset-{self.segment}" if self.state == "reset" else "state:carry"

    @property
    def unscored(self) -> int:
        """How many tokens at the start of each document are not scored: the first, or a window model's first N."""
        return 1 if self.window is None or self.pad else self.window

    @property
    def step(self) -> int | None:
        """The length of a step where it was asked for; the length of a reset state says nothing of it."""
        return self.segment if self.state == "carry" else None

    def spans(self, text: EncodedText) -> Spans:
        """Cut the text's documents into stretches that begin with the initial state."""
        if self.state == "reset" and self.segment is not None:
            return reset_spans(text, self.segment)
        return carried_spans(text)


@dataclass(frozen=True, kw_only=True)
class Streaming:
    """How the text is read: nothing here changes a valid result."""

    streams: int | str
    tolerance: float
    seed: int
    progress: Progress | None
    padded: bool = True
    """Whether short segments may be filled up; not for a model that sees the future."""
    kernel: str = "auto"
    """What runs the recurrent layers: `auto`, `hoisted` or `layers`."""

    def __post_init__(self) -> None:
        require_kernel(self.kernel)
        if self.streams != "auto" and not (isinstance(self.streams, int) and self.streams >= 1):
            raise UsageError(f"--streams {self.streams!r} is not a number of rows: give auto or at least 1")
        if not 0 <= self.tolerance <= 1:
            raise UsageError(f"--tolerance {self.tolerance} is not allowed: give 0 for equality, or up to 1")

    def rows(self, lm: RecurrentLM, predictions: int) -> int:
        """Rows side by side: one where the model's rows cannot start at different times."""
        if not lm.mixable:
            return 1
        if isinstance(self.streams, int):
            return self.streams
        return automatic_rows(predictions, memory_cells=any(unit.has_memory_cells for unit in lm.units))
