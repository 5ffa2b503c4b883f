"""The gradient record: what `rnneval gradients` measured. Schema `rnneval.gradients/1`."""

from rnneval.records._base import Stored, Value, quoted
from rnneval.records.run import Checkpoint, Count, Text, Warning  # noqa: A004 - the record's own word
from rnneval.records.wiring import Finding


class VariableGradient(Value, frozen=True, kw_only=True):
    """The gradient of the mean loss of a segment with respect to one variable, over segments of held-out text."""

    layer: str
    variable: str  # `kernel`, `recurrent_kernel`, `bias`, `embeddings`, …
    norm_mean: float  # Mean over segments of ‖gradient‖₂.
    norm_max: float
    norm_of_mean: float  # ‖mean of the gradients‖₂: far below `norm_mean` where segments pull in different directions.
    weight_norm: float


class ThroughTime(Value, frozen=True, kw_only=True):
    """Decay of ‖∂loss_T/∂s_{T−k}‖ / ‖∂loss_T/∂s_{T−base}‖ by the lag k, in one state, over anchors."""

    median: tuple[float, ...]  # Medians by lag, from 0.
    low: tuple[float, ...]  # Lower end of what the middle `band` of the anchors reach.
    high: tuple[float, ...]  # The upper end.
    band: float | None = None  # Share of the anchors between `low` and `high`; 0.9 where absent.
    base: Count  # First lag at which the state acts on the loss: 0; for the c of an LSTM 1: it acts through the next h.
    decay: float  # Factor a token: the geometric mean of the median's steps up to the lag at which 99 % is gone.
    gone: Count | None = None  # The first lag after which the median stays under 0.01; absent if there is none.


class Gradients(Stored, frozen=True, kw_only=True, tag_field="schema", tag="rnneval.gradients/1"):
    """Gradients on held-out text, by variable and back through time."""

    rnneval: str
    created: str
    command: tuple[str, ...]
    signature: str
    checkpoint: Checkpoint
    text: Text
    truncation: Count  # Tokens of a segment: how far a gradient of `variables` reaches back.
    segments: Count  # Number of segments behind `variables`, evenly spread over the text, each from its carried state.
    loss: float  # Mean nats per token of these segments.
    variables: dict[str, VariableGradient]  # Gradients of variables by `LAYER.VARIABLE`.
    anchors: Count  # Number of tokens behind `through_time`.
    lags: Count  # Largest number of tokens back.
    through_time: dict[str, ThroughTime]  # Gradients with respect to earlier states, by `LAYER.SLOT`.
    findings: tuple[Finding, ...]
    warnings: tuple[Warning, ...]

    @property
    def title(self) -> str:
        """The path of the model, or words for one that was given in Python."""
        return self.checkpoint.title

    def _in_one_line(self) -> str:
        return f"{quoted([self.title])} on {quoted([file.title for file in self.text.files])}: {self.signature}"
