"""The paired test of one metric: how much worse is the candidate, and is that beyond what is allowed?

With several runs per side the spread between the runs of each side is added (Welch), and the answer is about the
training *recipe*, not only about these checkpoints. Of an allowance of +1 % relative to the baseline, the difference
candidate − 1.01 · baseline is tested, whose error includes that of the baseline; 0.01 · baseline is added to it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from rnneval.arrays import Doubles
from rnneval.gates.clusters import Clusters, Columns, Estimate, TooLittleTextError, clusters_of, jackknife, statistic_of
from rnneval.gates.limits import Allowance
from rnneval.gates.sides import Paired
from rnneval.metrics import Metric

LEVEL = 0.05  # probability of a false pass, and of a false fail, if the truth is exactly what is allowed
POWER = 0.80
FLOAT_NOISE = 1e-6
"""Mean absolute difference, in nats per token, below which two runs are the same model: other batch sizes alone give
6e-10 in the mean and 4e-6 in single losses."""
Values = tuple[Doubles, Doubles]
"""A metric of each run of the baseline and of the candidate, on its scale of comparison: `(runs,)` each."""


@dataclass(frozen=True, kw_only=True)
class Tested(Estimate):
    """The difference candidate − baseline with its error, on the metric's scale of comparison."""

    worse: int  # +1 where a larger value is worse, −1 where a smaller one is
    allowed: float  # the largest difference that is allowed, with the sign of `worse`
    se_text: float = 0.0  # the part of the error that comes from the text
    se_runs: float = 0.0  # the part that comes from the spread between runs of a recipe; 0 for one run per side
    clusters: Clusters | None = None  # the clusters of the text; None for the same model on too little text

    @property
    def low(self) -> float:
        """Lower bound, one-sided, 95 %."""
        return self.bound(LEVEL)

    @property
    def high(self) -> float:
        """Upper bound, one-sided, 95 %."""
        return self.bound(1 - LEVEL)

    @property
    def beyond(self) -> float:
        """Distance beyond the allowance, towards worse in either direction: above 0 if the candidate is too bad."""
        return self.worse * (self.value - self.allowed)

    @property
    def p_worse(self) -> float:
        """Probability of a difference as bad as this, if the truth is what is allowed."""
        return float(stdtr(self.df, -self.beyond / self.se)) if self.se else float(not self.beyond > 0)

    @property
    def p_within(self) -> float:
        """Probability of a difference as good as this, if the truth is what is allowed."""
        return float(stdtr(self.df, self.beyond / self.se)) if self.se else float(self.beyond > 0)

    @property
    def mdd(self) -> float:
        """Minimum detectable difference: how far beyond the allowance the truth must be to be found with 80 % power."""
        return self._reach * self.se if self.se else 0.0

    @property
    def passes(self) -> bool:
        """True if even the bound on the worse side lies within what is allowed."""
        return self.p_within < LEVEL

    @property
    def improves(self) -> bool:
        """True if the candidate passes, and is better than the baseline by both bounds."""
        return self.passes and (self.high < 0 if self.worse > 0 else self.low > 0)

    @property
    def text_needed(self) -> float:
        """Text that would settle the question with 80 % power, as a multiple of this text; infinite if none can."""
        left = (self.beyond / self._reach) ** 2 - self.se_runs**2
        return self.se_text**2 / left if left > 0 else np.inf

    @property
    def _reach(self) -> float:
        return float(stdtrit(self.df, 1 - LEVEL) + stdtrit(self.df, POWER))


def assess(allowance: Allowance, paired: Paired) -> Tested:
    """Test whether the candidate is worse by one metric, beyond what is allowed; the same model is not worse."""
    measured, factor, values = allowance.measured, allowance.factor, values_of(allowance.measured, paired)
    allowed, same, clusters = allowed_by(allowance, values), same_model(paired), None
    try:
        clusters = clusters_of(paired.document, paired.units, paired.block_bytes)
    except TooLittleTextError:
        if not same:
            raise
    if same or clusters is None:
        return Tested(worse=measured.worse, allowed=allowed, clusters=clusters)
    statistic = statistic_of(measured, paired.sum_names, lossless=paired.lossless)
    stacked, split = np.concatenate([paired.baseline, paired.candidate]), len(paired.baseline)

    def difference(columns: Columns) -> Doubles:
        """Mean over the candidate's runs − f × mean over the baseline's, from the stacked sums of all runs."""
        of_runs = [statistic(run) for run in np.split(columns, len(stacked))]
        return np.asarray(np.mean(of_runs[split:], axis=0) - factor * np.mean(of_runs[:split], axis=0))

    text = jackknife(difference, stacked.reshape(-1, stacked.shape[-1]), clusters)
    runs = _variances_of_runs(values, factor)
    se_runs = math.sqrt(sum(variance for variance, _ in runs))
    return Tested(
        worse=measured.worse,
        value=text.value + (factor - 1) * float(values[0].mean()),
        allowed=allowed,
        se=math.hypot(text.se, se_runs),
        df=_satterthwaite([(text.se**2, text.df), *runs]),
        se_text=text.se,
        se_runs=se_runs,
        clusters=clusters,
    )


def values_of(measured: Metric, paired: Paired) -> Values:
    """Return the metric of each run over the common text, on its scale of comparison: baseline and candidate."""
    statistic = statistic_of(measured, paired.sum_names, lossless=paired.lossless)
    ours, theirs = (statistic(side.sum(axis=2).T) for side in (paired.baseline, paired.candidate))
    return ours, theirs


def loss_differences(paired: Paired) -> Columns:
    """Return two rows, `(2, pieces)`: nats of candidate − baseline, of the means over runs, and units of each piece."""
    ours, theirs = (nats.mean(axis=0) for nats in paired.nats)
    return np.array([theirs - ours, paired.units])


def same_model(paired: Paired) -> bool:
    """Return whether each run of one side has a run on the other with the same losses, up to float rounding.

    Means over runs do not suffice: runs at ±0.5 and at ±0.3 nats have the same means and are different models.
    """
    ours, theirs = (nats[nats.sum(axis=1).argsort()] for nats in paired.nats)
    if len(ours) != len(theirs):
        return False
    return bool((np.abs(theirs - ours).sum(axis=1) <= FLOAT_NOISE * paired.units.sum()).all())


def allowed_by(allowance: Allowance, values: Values) -> float:
    """Return the largest allowed difference candidate − baseline; a relative one, that share of the baseline."""
    if allowance.relative:
        return (allowance.factor - 1) * float(values[0].mean())
    return allowance.measured.worse * allowance.amount


def _variances_of_runs(values: Values, factor: float) -> list[tuple[float, float]]:
    """Return the variances of both sides' means from the spread between their runs, with degrees of freedom (Welch).

    A side of a single run is taken to spread as the other side does.
    """
    scaled = [*zip(values, (factor**2, 1.0), strict=True)]
    several = [(float(np.var(runs, ddof=1)), weight, len(runs)) for runs, weight in scaled if len(runs) > 1]
    if len(several) == 1:
        ((spread, _, count),) = several
        return [(spread * sum(weight / len(runs) for runs, weight in scaled), count - 1)]
    return [(spread * weight / count, count - 1) for spread, weight, count in several]


def _satterthwaite(terms: Sequence[tuple[float, float]]) -> float:
    """Return the degrees of freedom of a sum of estimated variances, from each with its own (Satterthwaite 1946)."""
    present = [(variance, df) for variance, df in terms if variance > 0]
    if len(present) < 2:  # exactly those of the only term, without rounding
        return (present or list(terms))[0][1]
    largest = max(present)[0]
    shares = [(variance / largest, df) for variance, df in present]
    return float(sum(share for share, _ in shares) ** 2 / sum(share**2 / df for share, df in shares))


def holm_levels(claims: Mapping[str, tuple[str, float]], level: float) -> Mapping[str, float]:
    """Return the level at which each claim of a fail is tested (Holm 1979): it stands if its p is at most that.

    A claim is a hypothesis and p. Claims of one hypothesis count once, by the smallest p among them: perplexity and
    bits per character are functions of one total loss, so that their fails are nested.

    Three metrics, two of one hypothesis: the smallest p is held against 5 % / 2, the next against 5 %.

    >>> claims = {"perplexity": ("loss", 0.01), "bits_per_char": ("loss", 0.02), "accuracy": ("accuracy", 0.04)}
    >>> holm_levels(claims, 0.05)
    {'perplexity': 0.025, 'bits_per_char': 0.025, 'accuracy': 0.05}
    """
    of_hypothesis: dict[str, float] = {}
    remaining = len({hypothesis for hypothesis, _ in claims.values()})
    for hypothesis, p in sorted(claims.values(), key=lambda claim: claim[1]):
        if hypothesis not in of_hypothesis:  # its smallest p
            of_hypothesis[hypothesis] = level / remaining
            # The first that does not stand stops the rest: they are held against the same level and are larger.
            remaining -= p <= level / remaining
    return {name: of_hypothesis[hypothesis] for name, (hypothesis, _) in claims.items()}
