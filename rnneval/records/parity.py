"""Records of parity: is a candidate still the same model as its reference?"""

from typing import Literal

from rnneval.records._base import Count, Stored, Value, shortened
from rnneval.records.gate import Verdict
from rnneval.records.run import Blocks, Checkpoint, Interval, Score, Text, VocabularyRecord, Warning  # noqa: A004


class ParitySide(Value, frozen=True, kw_only=True):
    """One of the two models, and how it was read."""

    checkpoint: Checkpoint
    backend: str
    segment: Count  # Tokens of a call.
    state: Literal["carry", "reset"]  # `reset`: every call begins with the initial state.
    dtype: str | None = None  # The type that its weights were converted to; absent if they stayed as they are.


class FloorReading(Value, frozen=True, kw_only=True):
    """The reference read in another way, against its usual reading."""

    kind: str  # `float64`, `calls of 1`, `calls of 37`, `weights ± 1 ulp`, `states ± 1 ulp`.
    mean: float
    largest: float


class Floor(Value, frozen=True, kw_only=True):
    """KL of the reference against itself, in nats a token."""

    tokens: Count  # Tokens that each reading predicts.
    readings: tuple[FloorReading, ...]
    limit: float  # Ten times the largest KL of all readings: what is below is rounding.
    margin: float  # Largest margin between two tokens, in nats, whose order rounding changed.


class KlSummary(Value, frozen=True, kw_only=True):
    """KL(reference ‖ candidate) along the text, in nats a token."""

    mean: float
    low: float | None = None  # Two-sided 95 % interval; absent where there is too little text.
    high: float | None = None
    quantiles: dict[str, float]  # By per cent, in the order of llama.cpp: 99.9, 99, 95, 90, 50, 10, 5, 1, 0.1.
    largest: float
    at: Count  # Token with the largest KL.
    byte: Count
    smallest: float


class Ratio(Value, frozen=True, kw_only=True):
    """A ratio of two mean KLs, with a 95 % interval of its logarithm."""

    value: float
    low: float | None = None
    high: float | None = None


class ByPosition(Value, frozen=True, kw_only=True):
    """Mean KL by position: bin i holds the positions `edges[i]` up to `edges[i + 1]`."""

    edges: tuple[Count, ...]
    mean_kl: tuple[float, ...]
    floor_low: tuple[float, ...]  # Smallest and largest mean of the floor's readings.
    floor_high: tuple[float, ...]


class KlPlace(Value, frozen=True, kw_only=True):
    """The first of eight tokens with a large mean KL."""

    token: Count
    byte: Count
    kl: float


class Departure(Value, frozen=True, kw_only=True):
    """The first part of both models whose values differ by more than rounding."""

    part: str  # A layer's state, such as `lstm.c`.
    in_candidate: str
    token: Count
    difference: float  # Relative to the size of the reference's values.
    paired_by: Literal["name", "order and shape", "values"]  # `values`: nearest after a call.


class Parity(Stored, frozen=True, kw_only=True, tag_field="schema", tag="rnneval.parity/1"):
    """A candidate against its reference on one text, both with the state carried."""

    rnneval: str
    created: str
    command: tuple[str, ...]
    verdict: Verdict
    fault: str | None = None  # `state` or `not finite` where a fail is one whatever the limits are.
    reason: str
    signature: str
    reference: ParitySide
    candidate: ParitySide
    vocabulary: VocabularyRecord | None = None
    text: Text
    tokens: Count  # Predictions that were compared.
    floor: Floor
    max_kl: float | None = None  # The limit that was asked for.
    allowed_loss: float | None = None
    kl: KlSummary | None = None  # Absent, as all that follows, if the candidate's logits are not finite.
    same_top: Score | None = None  # Share of tokens whose first choice agrees, but for ties within rounding.
    largest_margin_lost: float | None = None  # In nats: margin of the reference where the first choices differ.
    loss: Score | None = None  # Candidate − reference, in nats a token.
    first_above: Count | None = None  # First position above the limit of rounding, counted in predictions from 0.
    first_hand_over: Count | None = None  # First position of a call that reads a state of the candidate's.
    hand_overs: Count
    in_call: ByPosition | None = None  # By position in a call of the candidate, from its second call on.
    start_over_end: Ratio | None = None  # Start of a call over its end; absent for calls of up to 8 tokens.
    restarts: Ratio | None = None  # Carried over restarted, for calls of up to 8 tokens.
    rounded_restarts: Ratio | None = None  # The same of the reference in bfloat16; absent where `restarts` is near 1.
    growth: Ratio | None = None  # Last eighth of the text over the first.
    by_position: ByPosition | None = None  # Along the text.
    worst: tuple[KlPlace, ...]
    reset_period: Count | None = None  # Equal distance between the worst places.
    departure: Departure | None = None
    interval: Interval | None = None
    blocks: Blocks | None = None
    warnings: tuple[Warning, ...]

    def __bool__(self) -> bool:
        """Return whether the verdict is pass, so that `assert rnneval.parity(…)` holds nothing else."""
        return self.verdict == "pass"

    def _in_one_line(self) -> str:
        return f"{self.verdict}: {shortened(self.reason)!r}"
