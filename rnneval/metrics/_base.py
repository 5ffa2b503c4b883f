"""Parts of a metric: a pure `tally` over tokens, a pure `finish` over sums, and the function that users call.

The sums are sufficient statistics, kept apart from the score (as in sacrebleu): adding them up over blocks, documents
or machines and finishing once gives the score of the whole, and finishing without a cluster gives a jackknife value.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

_ROUNDING = 1e-5  # loss below 0 that may come of rounding, where the probability is 1


class UnavailableError(ValueError):
    """A score cannot be computed; the message says why, and becomes a warning of the run."""


class NotTalliedError(UnavailableError):
    """A sum was not recorded, since the tokens were not observed in that way."""


@dataclass(frozen=True, kw_only=True)
class ScoredTokens:
    """Observations of n scored tokens, in no particular order; every array has the shape `(n,)`."""

    nats: NDArray[np.float64]  # loss: −ln p(token | all before it), by log-softmax of the logits
    confidence: NDArray[np.float64]  # largest probability of the prediction
    rank: NDArray[np.int64]  # tokens that are predicted before this one: 0 is right (ties: lower ids first)
    characters: NDArray[np.int64]  # characters of the text that the token stands for
    bytes: NDArray[np.int64]  # bytes of these characters in UTF-8
    words: NDArray[np.int64]  # maximal runs of characters that are not white space, counted where they begin
    newlines: NDArray[np.int64]  # line feeds in the token's text


class LossesAlone(ScoredTokens):
    """Scored tokens of another program: their losses are known, and neither confidence nor rank.

    A tally that asks for one of these raises `NotTalliedError`, whatever the field was given.
    """

    def __getattribute__(self, name: str) -> Any:
        """Return a field that is known."""
        if name in ("confidence", "rank"):
            raise NotTalliedError(f"a table of losses has no {name}")
        return super().__getattribute__(name)


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Units and sums over all scored tokens (or over all but a cluster of them)."""

    tokens: float
    characters: float
    bytes: float
    words: float
    lossless: bool
    """Whether the way of cutting the text into tokens keeps all of it, so that known tokens give their text back."""
    sums: Mapping[str, float]  # sums of the metrics' tallies, by name

    def total(self, name: str) -> float:
        """Return one sum, or raise `NotTalliedError`, or `UnavailableError` if it is not finite."""
        if name not in self.sums:
            raise NotTalliedError(f"the sum {name!r} was not recorded")
        value = float(self.sums[name])
        if not math.isfinite(value):
            raise UnavailableError(f"the sum {name!r} is {value}: the prediction of at least one token is not finite")
        return value


def tally_nats(tokens: ScoredTokens) -> dict[str, NDArray[np.float64]]:
    """Return each token's loss in nats, `(n,)`: the term of every metric that is a function of the total loss."""
    return {"nats": np.asarray(tokens.nats, dtype=np.float64)}


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric; its name is the key in the record and the argument of `rnneval explain`."""

    name: str  # the same as the file's, and as that of its function
    unit: str
    tally: Callable[[ScoredTokens], Mapping[str, NDArray[np.float64]]] = tally_nats
    """Per-token terms, `(n,)` each, whose sums `finish` needs; metrics may share a name where the terms are equal."""
    finish: Callable[[Totals], float]  # the score; raises `UnavailableError` if it cannot be computed
    order: int = 1000  # place in reports and other lists: lower first, equal ones by name
    higher_is_better: bool = False
    log: Callable[[Totals], float] | None = None
    """Natural logarithm of the score, computed without the score, which may be larger than any float.

    If given, two values are compared by their logarithms: allowances and differences are shown in per cent.
    """
    log_unit: str = ""  # unit of `log`, such as `nats a token`
    hypothesis: str = ""
    """Name shared by metrics that rank models alike, as functions of one sum: Holm's correction counts them once."""
    biased_upwards: bool = False  # whether the score of a small sample is too large on average: a one-sided interval

    @property
    def worse(self) -> Literal[1, -1]:
        """+1 if a larger value is worse, -1 if a smaller one is."""
        return -1 if self.higher_is_better else 1

    @property
    def difference_unit(self) -> str:
        """Unit of a difference on the scale of comparison."""
        return self.log_unit or self.unit

    def forward(self, totals: Totals) -> float:
        """Return the score on the scale of comparison: its logarithm, or the score itself."""
        return self.finish(totals) if self.log is None else self.log(totals)

    def back(self, value: float) -> float:
        """Return the score that stands for a value on the scale of comparison; infinity above the largest float."""
        if self.log is None:
            return value
        try:
            return math.exp(value)
        except OverflowError:
            return math.inf


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Results of all metrics, in the order of `all_metrics`."""

    values: Mapping[str, float]  # scores by metric; all are finite
    missing: Mapping[str, str]  # by metric without a value, the reason


def score(metric: Metric, **columns: ArrayLike) -> float:
    """Return the score of plain arrays: `finish` of the sums of `tally`, as a run computes it from its blocks.

    The columns are fields of `ScoredTokens`, of one size, 0 where none is given; one number for `characters`, `bytes`,
    `words` or `newlines` is the count of all tokens together.
    """
    given = {name: np.asarray(values, np.float64).ravel() for name, values in columns.items()}
    first, n = next((name, values.size) for name, values in given.items())
    if n == 0:
        raise UnavailableError("no token was scored: the arrays are empty")
    for name, values in given.items():
        if values.size != n and (values.size != 1 or name in ("confidence", "rank")):
            raise ValueError(f"{name} has {values.size} numbers and {first} has {n}: give one number for each token")
    if "nats" in given and (given["nats"] < -_ROUNDING).any():
        raise ValueError(
            f"nats has {given['nats'].min():.6g}: a loss is −ln of a probability, 0 or more: give the losses, not the "
            "log-probabilities"
        )
    arrays: dict[str, Any] = {}
    for name in (field.name for field in fields(ScoredTokens)):
        values = given.get(name, np.zeros(n))
        counts = name not in ("nats", "confidence")
        if counts and not (np.isfinite(values) & (values >= 0) & (values == np.floor(values))).all():
            raise ValueError(f"{name} must hold whole numbers of at least 0, seen: {values}")
        values = np.append(values, np.zeros(n - values.size))  # the count of all tokens together stands at the first
        arrays[name] = values.astype(np.int64) if counts else values
    sums = {name: float(term.sum()) for name, term in metric.tally(ScoredTokens(**arrays)).items()}
    units = {name: float(arrays[name].sum()) for name in ("characters", "bytes", "words")}
    return metric.finish(Totals(tokens=n, **units, lossless=True, sums=sums))


def per(total: float, count: float, unit: str) -> float:
    """Divide a sum by a count of `unit`, such as "token"; nothing counted is an `UnavailableError`."""
    if not count > 0:
        raise UnavailableError(f"no {unit} was scored")
    quotient = total / count
    if not math.isfinite(quotient):
        raise UnavailableError(f"{total} over {count} {unit}s is larger than any float")
    return quotient


def mean(term: str, unit: str = "token") -> Callable[[Totals], float]:
    """Return the `finish` of a metric that is a sum divided by the number of units, such as tokens or words."""
    return lambda totals: per(totals.total(term), getattr(totals, f"{unit}s"), unit)


def bits_per(unit: str, name: str, order: int) -> Metric:
    """Return the metric in bits a unit of text, which lossy tokens do not have."""

    def finish(totals: Totals) -> float:
        if not totals.lossless:
            raise UnavailableError(f"the tokens do not give the text back, so its {unit}s were not all paid for")
        return mean("nats", unit)(totals) / math.log(2)

    return Metric(name=name, unit=f"bits a {unit}", order=order, finish=finish, hypothesis="loss")


def among_first(count: int, name: str, order: int) -> Metric:
    """Return the metric that is the share of tokens among the first choices; NaN if a prediction is no number.

    Without the NaN, logits of NaN would count as right: nothing is larger than they are, so the rank is 0.
    """

    def tally(tokens: ScoredTokens) -> dict[str, NDArray[np.float64]]:
        return {f"top{count}": np.where(np.isnan(tokens.nats), np.nan, tokens.rank < count)}

    finish = mean(f"top{count}")
    return Metric(name=name, unit="share", order=order, tally=tally, finish=finish, higher_is_better=True)


def exponential(name: str, unit: str, order: int, log: Callable[[Totals], float], **more: Any) -> Metric:
    """Return the metric that is e to the power of a mean loss; above 709 nats it is unavailable."""

    def finish(totals: Totals) -> float:
        mean_nats = log(totals)
        try:
            return math.exp(mean_nats)
        except OverflowError:
            raise UnavailableError(f"e to the power of {mean_nats:.6g} nats is larger than any float") from None

    return Metric(name=name, unit=unit, order=order, finish=finish, log=log, hypothesis="loss", **more)
