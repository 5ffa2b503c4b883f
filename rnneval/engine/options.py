"""Options that say where the state starts anew and how many rows are read side by side."""

from dataclasses import dataclass

from rnneval.backends.protocol import LanguageModel
from rnneval.engine.plan import Spans, automatic_rows, carried_spans, reset_spans
from rnneval.errors import UsageError
from rnneval.options import Progress, StateGroup, StreamGroup, values_of
from rnneval.text import EncodedText


@dataclass(frozen=True, kw_only=True)
class StateOptions(StateGroup):
    """Options that say where the state starts anew and how long a step is, for a model of this kind."""

    window: int | None = None
    """N of a window model: its state is the last N − 1 ids, so that nothing is carried or reset."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window is None and self.pad:
            raise UsageError("--pad is for window models (N tokens in, one prediction out): this model carries a state")
        if self.window is not None and self.state == "reset":
            raise UsageError(f"--state reset: a window model knows nothing but the last {self.window} tokens anyway")

    @classmethod
    def of(cls, options: StateGroup, lm: LanguageModel) -> "StateOptions":
        """Take the options of the state from those of a function that reads a text with the model."""
        return cls(**values_of(StateGroup, options), window=lm.window)

    @property
    def signature(self) -> str:
        """The field of the signature; it holds the length of a step only if the state is reset with it."""
        if self.window is not None:
            return f"state:window-{self.window}{'+pad' if self.pad else ''}"
        return f"state:reset-{self.segment}" if self.state == "reset" else "state:carry"

    @property
    def unscored(self) -> int:
        """Number of tokens at the start of each document that are not scored: 1, or N of a window model."""
        return 1 if self.window is None or self.pad else self.window

    @property
    def step(self) -> int | None:
        """The length of a step if --segment asks for one; with --state reset it does not."""
        return self.segment if self.state == "carry" else None

    def spans(self, text: EncodedText) -> Spans:
        """Cut the text's documents into spans that begin with the initial state."""
        if self.state == "reset" and self.segment is not None:
            return reset_spans(text, self.segment)
        return carried_spans(text)


@dataclass(frozen=True, kw_only=True)
class Streaming(StreamGroup):
    """Options that say how a text is read; none changes the result of a valid run."""

    progress: Progress | None = None
    padded: bool = True
    """Whether short segments may be filled up; not for a model that sees the future."""

    @classmethod
    def of(cls, options: StreamGroup, progress: Progress | None) -> "Streaming":
        """Take the options of streaming from those of a function that reads a text."""
        return cls(**values_of(StreamGroup, options), progress=progress)

    def rows(self, lm: LanguageModel, predictions: int) -> int:
        """Return the number of rows side by side: 1 if the model's rows cannot start at different times."""
        if not lm.mixable:
            return 1
        if isinstance(self.streams, int):
            return self.streams
        return automatic_rows(predictions, memory_cells=lm.memory_cells)
