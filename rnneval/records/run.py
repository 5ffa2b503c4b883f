"""Records of one model: what `rnneval evaluate` and `gradients` measured, and what `rnneval open` recognised."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from rnneval.options import LARGEST_ORDER
from rnneval.records._base import Count, Stored, Value, quoted
from rnneval.records.wiring import Finding

if TYPE_CHECKING:
    import pandas as pd

    from rnneval.text import Vocabulary

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_USUAL = {"char": "bits_per_char", "byte": "bits_per_byte", "word+eos": "word_perplexity_eos"}


class LayerRecord(Value, frozen=True, kw_only=True):
    """A recurrent layer of the evaluated model, in the order in which the layers run."""

    name: str  # The key used everywhere: the stored name, a name given to the constructor, or the attribute path.
    path: str  # The attribute path from the model, such as `stack[1].lstm`.
    kind: str  # The class: GRU, LSTM, SimpleRNN, …
    units: Count
    slots: tuple[str, ...]  # Parts of the layer's state: `("h",)` or `("h", "c")`.


class BuilderRecord(Value, frozen=True, kw_only=True):
    """The user's own code that made the model."""

    name: str  # `FILE.py:NAME` as it was given, or the name of the Python object.
    sha256: Sha256 | None = None  # Hash of its file; absent for a Python object without one.


class Checkpoint(Value, frozen=True, kw_only=True):
    """The file or model that the weights came from."""

    path: str  # The path as it was given; "" for a model that was given in Python.
    sha256: Sha256  # Hash of the file, or of a folder's paths and contents; of the weights for a model given in Python.
    format: str  # `keras`, `keras-h5`, `weights-h5`, `tf-checkpoint` or `model` (given in Python).
    contract: Annotated[int, msgspec.Meta(ge=1, le=5)]
    """Way of passing the state: 1 states argument, 2 state inputs, 3 stateful layers, 4 stateless graph, 5 window."""
    parameters: Count
    dtype: str
    layers: tuple[LayerRecord, ...]
    name: str | None = None  # Name of a model given in Python: that of the model or function, or the class in PyTorch.
    builder: BuilderRecord | None = None  # Absent if no builder was given.

    @property
    def identity(self) -> str:
        """Hash of the weights, with name and hash of the builder: other code makes another model of the same weights.

        A model in memory has no file of code: it goes by its name.
        """
        if self.builder is None:
            return self.sha256 if self.path else f"{self.sha256} {self.name or ''}".strip()
        return f"{self.sha256} {self.builder.name.rpartition(':')[2]} {self.builder.sha256 or ''}".strip()

    @property
    def title(self) -> str:
        """The path, or the name or words for a model that was given in Python."""
        return self.path or self.name or "model in memory"


class Imported(Value, frozen=True, kw_only=True):
    """The table of another program that the losses came from."""

    path: str  # The path as it was given; "" for a table that was given in Python.
    sha256: Sha256  # Hash of the file; of the columns for a table given in Python.

    @property
    def identity(self) -> str:
        """The hash."""
        return self.sha256

    @property
    def title(self) -> str:
        """The path, or words for a table that was given in Python."""
        return self.path or "losses in memory"


class VocabularyRecord(Value, frozen=True, kw_only=True):
    """The map from tokens to ids."""

    size: Count
    sha256: Sha256  # Hash of the tokens in the order of their ids.
    source: str  # Origin of the vocabulary in words: a path, `the text …`, `StringLookup layer …`, `given`.

    @classmethod
    def of(cls, vocabulary: "Vocabulary | None") -> "VocabularyRecord | None":
        """Return what records say of a vocabulary."""
        v = vocabulary
        return None if v is None else cls(size=v.size, sha256=v.sha256, source=v.source)


class InputRecord(Value, frozen=True, kw_only=True):
    """Input of the model."""

    kind: str  # `ids`, `one-hot` or `scaled-ids`.


class OutputRecord(Value, frozen=True, kw_only=True):
    """Output of the model."""

    kind: str  # `logits`, `probabilities-as-logits` (final softmax replaced by linear) or `probabilities`.


class TextFile(Value, frozen=True, kw_only=True):
    """One file of the held-out text, as it is on disk, or the text that was given in memory."""

    path: str  # The path as it was given; "" for a text that was given in Python.
    sha256: Sha256  # Hash of the file; of the text in UTF-8 for one that was given in Python.

    @property
    def title(self) -> str:
        """The path, or words for a text that was given in Python."""
        return self.path or "text in memory"


class Text(Value, frozen=True, kw_only=True):
    """The final text (after part, newlines and normalisation), counted exactly."""

    sha256: Sha256  # Hash of the final text in UTF-8, documents end to end.
    files: tuple[TextFile, ...]
    part: str | None = None  # The part that `--part` asked for; absent for the whole.
    share: float | None = None  # Share of the characters of the files that the part holds; absent for the whole.
    characters: Count
    bytes: Count
    words: Count  # Maximal runs of characters that are not white space.
    documents: Count
    scored_characters: Count
    scored_bytes: Count
    scored_words: Count


class TokenCounts(Value, frozen=True, kw_only=True):
    """Every token accounted for: total = scored + unscored."""

    total: Count
    scored: Count
    unscored: Count  # Tokens without a loss: the first of each document, unless an imported table has it.
    unknown: Count  # Tokens that the vocabulary lacks: skipped (then not in total) or mapped (then in it).


class Score(Value, frozen=True, kw_only=True):
    """One number, with its unit and a two-sided 95 % interval where there is one."""

    value: float
    unit: str
    low: float | None = None
    high: float | None = None


class Interval(Value, frozen=True, kw_only=True):
    """Method of `low` and `high` of the scores, and their claim."""

    method: str
    clusters: Count
    df: float
    claim: str  # `text like these documents` or `this passage`.


class Forgetting(Value, frozen=True, kw_only=True):
    """Tokens, at most, after which two rows that started differently were seen to have the same state."""

    median: float
    p95: float
    max: float


class Streams(Value, frozen=True, kw_only=True):
    """Division of the tokens over rows, and the audited exactness."""

    count: Count  # Rows side by side.
    segment: Count  # Tokens of a row in one step.
    kernel: str  # The implementation of the layers: `layers` of Keras, `numpy`, or `step`.
    tolerance: float | None = None
    passes: Count
    tokens_rerun: Count
    largest_state_difference: float | None = None
    audited_loss_difference: float | None = None
    forgetting_length: Forgetting | None = None
    workers: Count | None = None  # Processes that read the text; absent where one did.
    chunks: Count | None = None  # Spans of the text that were tasks of their own; the number of workers changes none.


class Blocks(Value, frozen=True, kw_only=True):
    """The text in blocks of at least 256 bytes, cut where every tokenisation can be cut; one entry per block."""

    bytes: tuple[Count, ...]  # End of each block, in bytes of the final text.
    document: tuple[Count, ...]
    scored_bytes: tuple[Count, ...]
    tokens: tuple[Count, ...]  # Scored tokens.
    characters: tuple[Count, ...]  # Scored characters.
    words: tuple[Count, ...]  # Scored words.
    unknown: tuple[Count, ...]
    sums: dict[str, tuple[float, ...]]  # Sums of each metric's `tally`: `nats`, `top1`, …


class StateSummary(Value, frozen=True, kw_only=True):
    """The state `h` or `c` of one layer over the text; `rnneval explain states` defines each number."""

    norm_mean: float
    norm_max: float
    rms: float
    mean: float
    lowest: float
    highest: float
    saturated: float | None = None  # Share of position × unit; absent if the state is not known to be bounded.
    dead: float  # Share of units.
    duplicated: float | None = None  # Share of units; absent, as the next one, if there are too many to compare them.
    participation_ratio: float | None = None
    speed: float
    drift: float  # Growth of the norm over the longest document, as a share of its mean.
    growth: Score | None = None  # Factor by which the norm grows in 1,000 tokens; absent of a short text.
    norms: tuple[float | None, ...] | None = None  # Mean norm in 16 equal parts of the longest document.
    bytes: tuple[float | None, ...] | None = None  # Size of a memory that grows, of one row, in the same parts.
    every: Count | None = None  # Distance of the positions behind `mean`, `saturated`, `dead` and `speed`, unless 1.
    call: Count | None = None  # Tokens of the calls at whose ends alone it was known; absent if after every token.


class GateSummary(Value, frozen=True, kw_only=True):
    """One gate of one layer over the text."""

    mean: float
    saturated_low: float  # Share of position × unit below 0.03.
    saturated_high: float  # Share of position × unit above 0.97.
    time_constant: float | None = None  # Median over units, in tokens; of forget and update gates alone.
    every: Count  # Distance between the positions at which it was computed, in tokens.


class Exponent(Value, frozen=True, kw_only=True):
    """A largest Lyapunov exponent, in nats per token: of a layer with the layers below fixed, or of the whole stack."""

    value: float
    standard_error: float  # Standard error: the spread over the text, and the remaining difference of two tangents.
    steps: Count  # Tokens that it was averaged over.
    settling: Count | None = None  # Tokens that each row walked before those, until its tangents agreed.


class ContextCurve(Value, frozen=True, kw_only=True):
    """Loss when the state is reset `lengths[i]` tokens before the scored one."""

    lengths: tuple[Count, ...]
    nats: tuple[float, ...]  # Mean over the anchors.
    extra_error: tuple[float, ...]  # Standard error of the mean difference to the whole context, over anchors.
    whole: float  # Mean loss of the same anchors with all of their context.
    anchors: Count  # Scored tokens, evenly spread, that every length is measured on.


class WiringSummary(Value, frozen=True, kw_only=True):
    """Result of `rnneval check` on the model before it was evaluated."""

    verdict: str
    reason: str
    findings: tuple[Finding, ...]
    right_by_token: bool | None = None  # True if calls of one token are right and longer ones are not; else absent.


class TokenByToken(Value, frozen=True, kw_only=True):
    """The same text once more, for a model that fails the wiring check, with other cuts than those of the run."""

    segment: Count  # Tokens per step: 1, or 100 if the run itself had 1.
    total_nats: float


class HowFar(Value, frozen=True, kw_only=True):
    """Distance from the start of a document to which carrying the state helps, by pieces of the text."""

    verdict: Literal["holds", "collapses", "inconclusive"]
    helps_to: Count | None = None  # Tokens: the end of the last piece in which carrying helps.
    costs_from: Count | None = None  # Tokens: the start of the first piece from which on carrying costs.
    turns_at: Score | None = None  # Tokens after which carrying costs more than it gives; of `collapses` alone.
    trained_at: Count | None = None  # Tokens of a training segment, as `--trained-at` says.
    distance: tuple[Count, ...]  # Tokens from the start of the document to the start of each piece.
    end: Count
    change: tuple[float, ...]  # Carried − reset, in nats a token, of each piece.
    low: tuple[float, ...]  # The intervals of all pieces hold together with a probability of 95 %.
    high: tuple[float, ...]
    reset: tuple[float, ...] | None = None  # Loss of each piece with the state reset, in nats a token.


class BesideReset(Value, frozen=True, kw_only=True):
    """The same tokens scored with the state reset at regular distances, and the change that carrying it makes."""

    segment: Count  # Tokens between two resets, counted within each document.
    signature: str
    total_nats: float | None = None  # Absent if a loss is not finite; then there are no scores and no change.
    scores: dict[str, Score]
    change: Score | None = None  # Carried − reset, in nats a token, paired by block: below 0 where carrying helps.
    perplexity_change: Score | None = None  # The same in per cent of the reset perplexity.
    how_far: HowFar | None = None  # Absent if the text has fewer than 64 blocks.


class Ngram(Value, frozen=True, kw_only=True):
    """The best of the n-gram baselines, and the model beside it."""

    order: Annotated[int, msgspec.Meta(ge=2, le=LARGEST_ORDER)]
    discounts: tuple[str, ...]
    """Of the orders 1 to `order`: `modified`; `single` or `absolute` where counts of counts are 0."""
    fitted_tokens: Count
    fitted_sha256: Sha256  # Hash of the fitted text, after part, newlines and normalization.
    nats: tuple[float, ...]  # Sum of the n-gram's losses in each block, over the scored tokens.
    change: Score | None = None  # Model − n-gram, in nats a token, paired; absent if a loss is not finite.

    @property
    def name(self) -> str:
        """Its name among the baselines."""
        return f"ngram-{self.order}"


class Timing(Value, frozen=True, kw_only=True):
    """Duration of the scored pass, without start-up."""

    seconds: float
    tokens_per_second: float
    device: str
    threads: Count


class Warning(Value, frozen=True, kw_only=True):  # noqa: A001 - the field's word; never imported bare
    """Something a reader of the numbers should know."""

    code: str
    message: str


class Run(Stored, frozen=True, kw_only=True, tag_field="schema", tag="rnneval.run/1"):
    """One evaluation of one checkpoint on one text, or the losses of another program, which have fewer fields."""

    rnneval: str  # The version that made it: recorded, never compared.
    created: str  # ISO 8601 with the offset from UTC.
    command: tuple[str, ...]  # Command that repeats it; empty if it was made from Python.
    signature: str  # Conditions that two numbers must share to be compared.
    valid: bool
    checkpoint: Checkpoint | None = None  # The model; absent if the losses were imported.
    imported: Imported | None = None  # The table of losses, if the losses were imported.
    vocabulary: VocabularyRecord | None = None  # Absent if the losses were imported without a vocabulary.
    input: InputRecord | None = None
    output: OutputRecord | None = None
    text: Text
    tokens: TokenCounts
    total_nats: float | None = None  # Float64 sum of the scored tokens' losses; absent if one is not finite.
    scores: dict[str, Score]
    interval: Interval | None = None
    baselines: dict[str, float]  # Nats per token of models without a network: `uniform`, `unigram`, `ngram-2`, …
    ngram: Ngram | None = None  # Absent unless n-grams were fitted to a text.
    backend: str | None = None  # What ran the model: `keras`, `numpy` or `step`; absent for imported losses.
    streams: Streams | None = None  # Absent if the losses were imported.
    blocks: Blocks
    states: dict[str, StateSummary] | None = None  # Summaries of states by `LAYER.SLOT`.
    gates: dict[str, GateSummary] | None = None  # Summaries of gates by `LAYER.GATE`.
    lyapunov: dict[str, Exponent] | None = None  # Exponents by layer, and of `stack`, the layers together.
    context: ContextCurve | None = None
    wiring: WiringSummary | None = None
    token_by_token: TokenByToken | None = None
    beside_reset: BesideReset | None = None  # Absent unless it was asked for.
    cut_noise: float | None = None  # Nats a token by which rows and segment move a loss in half precision; else absent.
    timing: Timing | None = None  # Absent if the losses were imported.
    warnings: tuple[Warning, ...]

    @property
    def source(self) -> Checkpoint | Imported:
        """The file that the losses come from: the checkpoint, or the table of another program."""
        found = self.checkpoint or self.imported
        assert found is not None  # noqa: S101 - `read` refuses a record with neither
        return found

    @property
    def forgetting(self) -> Forgetting | None:
        """Tokens after which the state no longer depends on where it started, if that was seen."""
        return None if self.streams is None else self.streams.forgetting_length

    @property
    def title(self) -> str:
        """The path of the source, or words for one that was given in Python."""
        return self.source.title

    @property
    def unchecked(self) -> bool:
        """True for a model that carries a state whose wiring was not checked (`--no-check`)."""
        return self.checkpoint is not None and self.checkpoint.contract != 5 and self.wiring is None

    @property
    def why_not_valid(self) -> str:
        """The reason why the run is not valid; "" for a run that is."""
        return "" if self.valid else next((each.message for each in self._invalidating), "not valid")

    @property
    def broken_rules(self) -> tuple[str, ...]:
        """The wiring rules that make the run not valid, else the codes of the warnings that say why."""
        if self.valid:
            return ()
        findings = () if self.wiring is None else self.wiring.findings
        broken = [finding.rule for finding in findings if finding.severity == "error"]
        return tuple(dict.fromkeys(broken or [each.code for each in self._invalidating]))

    @property
    def _invalidating(self) -> list[Warning]:
        return [each for each in self.warnings if each.code in {"wrong-wiring", "not-finite", "not-repeatable"}]

    def to_frame(self) -> "pd.DataFrame":
        """Return the scores as a pandas DataFrame with a row for each.

        Columns: `source` (the path of the checkpoint, or of imported losses), `text` (paths), `signature`, `valid`,
        `score` (its name), `value`, `unit`, `low`, `high`, and `usual`, which marks the score that is usual for this
        kind of token. Frames of several runs can be concatenated.
        """
        import pandas as pd

        common = {
            "source": self.source.path,
            "text": " ".join(file.path for file in self.text.files),
            "signature": self.signature,
            "valid": self.valid,
        }
        usual = usual_metric(self.signature)
        rows = [
            {**common, "score": name, **msgspec.structs.asdict(score), "usual": name == usual}
            for name, score in self.scores.items()
        ]
        return pd.DataFrame(rows, columns=[*common, "score", *Score.__struct_fields__, "usual"])

    def _in_one_line(self) -> str:
        where = f"{quoted([self.title])} on {quoted([file.title for file in self.text.files])}"
        if not self.valid:
            return f"not valid ({', '.join(self.broken_rules) or 'no reason given'}): {where}, {self.signature}"
        wiring = f"wiring {self.wiring.verdict}" if self.wiring else "wiring not checked"
        return f"{where}: valid, {wiring}, {score_in_words(self.scores, self.signature)}, {self.signature}"


class Opened(Stored, frozen=True, kw_only=True, tag_field="schema", tag="rnneval.opened/1"):
    """A checkpoint that could be opened, and all assumptions about it."""

    checkpoint: Checkpoint
    input: InputRecord
    output: OutputRecord
    width: Annotated[int, msgspec.Meta(ge=1)]  # V, the number of logits.
    vocabulary: VocabularyRecord | None = None
    why_no_vocabulary: str | None = None  # Places that were searched in vain, and what to give.
    assumptions: tuple[str, ...]
    warnings: tuple[Warning, ...] | None = None

    @property
    def title(self) -> str:
        """The path of the model, or words for one that was given in Python."""
        return self.checkpoint.title

    def _in_one_line(self) -> str:
        return f"{quoted([self.title])}: {self.checkpoint.format}"


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


def usual_metric(signature: str) -> str:
    """Return the metric that papers report for the kind of token in a signature; "" if there is no custom."""
    fields = dict(field.split(":", 1) for field in signature.split("|") if ":" in field)
    return _USUAL.get(fields.get("tok", ""), "")


def score_in_words(scores: Mapping[str, Score], signature: str) -> str:
    """Return a score with its name: the usual one, else perplexity, else the first."""
    name = next((name for name in (usual_metric(signature), "perplexity", *scores) if name in scores), None)
    return "no score" if name is None else f"{name} {scores[name].value:.5g}"
