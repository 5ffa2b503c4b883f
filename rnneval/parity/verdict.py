"""The verdict on a candidate: a wrong state fails whatever the limits are, rounding passes, limits decide the rest."""

from dataclasses import dataclass, replace

from rnneval.records.gate import Verdict
from rnneval.records.parity import KlSummary, Parity, Ratio
from rnneval.records.run import Score
from rnneval.wiring.difference import HALF_TYPES

TIMES_FLOOR = 10.0  # the limit of rounding is so many times the largest KL of the reference against itself
LEAST_LIMIT = 5 * 2.0**-46  # KL of logits that differ by some units in the last place of float32, where a floor is 0
_WRONG_STATE = 3.0  # right states: 0.92 to 1.08, bounds up to 1.26; wrong ones: from 6.6
_EVEN = 1.5
_LITTLE = 10.0  # a first position above the limit says nothing if the largest KL is not so many times the limit
_HAND_OVERS = 64


@dataclass(frozen=True)
class ParityVerdict:
    """A verdict and its reason."""

    verdict: Verdict
    reason: str
    fault: str | None = None  # `state` where it fails whatever the limits are
    warnings: tuple[str, ...] = ()


def _in_lower_precision(parity: Parity) -> bool:
    """Return whether the first state that departs does so by at most a unit in the last place of half precision."""
    return parity.departure is not None and parity.departure.difference <= max(HALF_TYPES.values()) / 2


def is_large(ratio: Ratio | None, times: float = 1.0) -> bool:
    """Return whether a ratio is so large, or so many times as large, that no right state gives it."""
    return ratio is not None and ratio.low is not None and ratio.low > _WRONG_STATE * max(times, 1.0)


def _exact_before_hand_over(parity: Parity, largest: float) -> bool:
    """Return whether the candidate is exact before it reads a state, and differs by more than rounding afterwards."""
    first, hand_over = parity.first_above, parity.first_hand_over
    far = largest > _LITTLE * parity.floor.limit
    return first is not None and hand_over is not None and first >= hand_over and far


def judge(parity: Parity, kl: KlSummary, loss: Score) -> ParityVerdict:
    """Return the verdict on a candidate, by its statistics and the limits that were given."""
    if parity.first_above is None:
        said = f"no token differs by more than rounding ({parity.floor.limit:.1e} nats)"
        few = _too_few_hand_overs(parity)
        return ParityVerdict("pass", said) if few is None else ParityVerdict("inconclusive", f"{said}, but {few}")
    limited = _by_limits(parity, kl, loss)
    if (of_state := _of_the_state(parity, kl.largest, limited)) is not None:
        return of_state
    doubt = _too_little(parity, kl)
    if limited is not None and (doubt is None or limited.verdict == "fail"):
        return limited
    if doubt is None:
        doubt = f"differs {_along_the_stream(parity, kl.largest)}; give a limit (--max-kl or --allow loss=+X)"
    return ParityVerdict("inconclusive", doubt)


def _of_the_state(parity: Parity, largest: float, limited: ParityVerdict | None) -> ParityVerdict | None:
    """Return the verdict on a state that is handed over wrong or in lower precision; None if it seems right."""
    before = f"tokens before the first hand-over agree up to rounding, later ones do not{_where(parity)}"
    exact = _exact_before_hand_over(parity, largest)
    if exact and _in_lower_precision(parity):
        if limited is not None and limited.verdict == "pass":
            return replace(limited, warnings=(f"state of lower precision: {before}",))
        advice = "give a limit (--max-kl) if it is meant" if limited is None else limited.reason
        said = f"the state is handed over in lower precision, or wrong: {before}; {advice}"
        return ParityVerdict("fail", said, fault="state")
    rounded = parity.rounded_restarts
    for ratio, times, words in (
        (parity.start_over_end, 1.0, "larger at the start of a call than at its end"),
        # A state of zeros shows less of what weights do than later ones: in a right model, too.
        (
            parity.restarts,
            1.0 if rounded is None else rounded.value,
            "larger with the state carried than after a restart",
        ),
    ):
        if ratio is not None and is_large(ratio, times):
            said = f"the state is handed over wrong: KL is {ratio.value:.2g} times {words}{_where(parity)}"
            return ParityVerdict("fail", said, fault="state")
    return ParityVerdict("fail", f"the state is handed over wrong: {before}", fault="state") if exact else None


def _along_the_stream(parity: Parity, largest: float) -> str:
    """Return where a candidate differs whose state is handed over right, and what makes such a difference."""
    if largest <= _LITTLE * parity.floor.limit:
        return "by little more than rounding"
    bins = parity.by_position
    above = [at for at, mean in enumerate(bins.mean_kl) if mean > parity.floor.limit] if bins is not None else []
    if bins is not None and above and above[-1] < len(bins.mean_kl) - 1:
        last = bins.edges[above[-1] + 1] - 1
        return f"up to position {last:,}, and by rounding alone from there on, as after another initial state"
    if parity.growth is not None and parity.growth.low is not None and parity.growth.low > _WRONG_STATE:
        return f"more and more along the stream, {parity.growth.value:.2g} times as much at its end"
    return "evenly along the stream: weights or arithmetic"


def _where(parity: Parity) -> str:
    """Return words about the reset period, if there is one."""
    period = parity.reset_period
    if period is None or period == parity.candidate.segment:
        return ""
    return f"; the worst places are {period:,} tokens apart: a reset?"


def _too_little(parity: Parity, kl: KlSummary) -> str | None:
    """Return why the text or the floor is not enough to rule a wrong state out; None if it is."""
    ratio = parity.start_over_end or parity.restarts
    rounding = parity.floor.limit / TIMES_FLOOR
    if parity.max_kl is not None and rounding > parity.max_kl / 10:
        return (
            f"rounding alone moves the reference by {rounding:.1e} nats, which hides differences of "
            f"{parity.max_kl:.1e}: take a reference of higher precision (--ref-dtype), or a larger --max-kl"
        )
    if kl.low is None:
        return "too little text for an interval: give 32 kB or 8 documents of about the same length"
    if few := _too_few_hand_overs(parity):
        return few
    if (
        ratio is not None
        and ratio.low is not None
        and ratio.high is not None
        and ratio.low < _EVEN < _WRONG_STATE < ratio.high
    ):
        return (
            f"whether the state is handed over right is not settled: KL is {ratio.value:.2g} ({ratio.low:.2g} to "
            f"{ratio.high:.2g}) times as large after a hand-over: give a longer text"
        )
    return None


def _too_few_hand_overs(parity: Parity) -> str | None:
    if parity.candidate.state == "reset" or parity.hand_overs >= _HAND_OVERS:
        return None
    count = f"{parity.hand_overs} hand-over{'s' * (parity.hand_overs != 1)} of the state"
    return f"the text has {count}, {_HAND_OVERS} are needed: give a longer text, or shorter calls (--cand-segment)"


def _by_limits(parity: Parity, kl: KlSummary, loss: Score) -> ParityVerdict | None:
    """Return the verdict by the limits that were given, the gravest of several; None without a limit."""
    verdicts: list[ParityVerdict] = []
    for name, value, low, high, most in (
        ("mean KL", kl.mean, kl.low, kl.high, parity.max_kl),
        ("loss", loss.value, loss.low, loss.high, parity.allowed_loss),
    ):
        if most is None:
            continue
        bounds = "" if low is None or high is None else f" ({low:.2g} to {high:.2g})"
        said = f"{name} is {value:.2g}{bounds} nats a token, {most:.2g} is allowed"
        within: Verdict = "inconclusive"
        if low is not None and high is not None:
            within = "fail" if low > most else "pass" if high <= most else "inconclusive"
        verdicts.append(ParityVerdict(within, said))
    order = ("fail", "inconclusive", "pass")
    return min(verdicts, key=lambda each: order.index(each.verdict)) if verdicts else None
