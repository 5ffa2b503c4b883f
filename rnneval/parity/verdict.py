"""The verdict on a candidate: a wrong state fails whatever the limits are, rounding passes, limits decide the rest."""

from rnneval.records.gate import Verdict
from rnneval.records.parity import KlSummary, Parity
from rnneval.records.run import Score
from rnneval.wiring.difference import HALF_TYPES

TIMES_FLOOR = 10.0  # the limit of rounding is so many times the largest KL of the reference against itself
LEAST_LIMIT = 5 * 2.0**-46  # KL of logits that differ by some units in the last place of float32, where a floor is 0
_WRONG_STATE = 3.0  # right states: 0.92 to 1.08, bounds up to 1.26; wrong ones: from 6.6
_EVEN = 1.5
_LITTLE = 10.0  # a first position above the limit says nothing if the largest KL is not so many times the limit
_HAND_OVERS = 64


def _in_lower_precision(parity: Parity) -> bool:
    """Return whether the first state that departs does so by at most a unit in the last place of half precision."""
    return parity.departure is not None and parity.departure.difference <= max(HALF_TYPES.values()) / 2


def _exact_before_hand_over(parity: Parity, largest: float) -> bool:
    """Return whether the candidate is exact before it reads a state, and differs by more than rounding afterwards."""
    first, hand_over = parity.first_above, parity.first_hand_over
    far = largest > _LITTLE * parity.floor.limit
    return first is not None and hand_over is not None and first >= hand_over and far


def judge(parity: Parity, kl: KlSummary, loss: Score) -> tuple[Verdict, str | None, str, list[str]]:
    """Return the verdict, the fault if it fails whatever the limits are, the reason, and warnings."""
    if parity.first_above is None:
        said = f"no token differs by more than rounding ({parity.floor.limit:.1e} nats)"
        few = _too_few_hand_overs(parity)
        return ("pass", None, said, []) if few is None else ("inconclusive", None, f"{said}, but {few}", [])
    where, limited, exact = _where(parity), _by_limits(parity, kl, loss), _exact_before_hand_over(parity, kl.largest)
    before = f"tokens before the first hand-over agree up to rounding, later ones do not{where}"
    if exact and _in_lower_precision(parity) and limited is not None and limited[0] == "pass":
        return "pass", None, limited[1], [f"state of lower precision: {before}"]
    for ratio, words in (
        (parity.start_over_end, "larger at the start of a call than at its end"),
        (parity.restarts, "larger with the state carried than after a restart"),
    ):
        if ratio is not None and ratio.low is not None and ratio.low > _WRONG_STATE:
            return "fail", "state", f"the state is handed over wrong: KL is {ratio.value:.2g} times {words}{where}", []
    if exact:
        return "fail", "state", f"the state is handed over wrong, or in lower precision: {before}", []
    doubt = _too_little(parity, kl)
    if limited is not None and (doubt is None or limited[0] == "fail"):
        return limited[0], None, limited[1], []
    if doubt is None:
        little = kl.largest <= _LITTLE * parity.floor.limit
        how = "by little more than rounding" if little else "evenly along the stream: weights or arithmetic"
        doubt = f"differs {how}; give a limit (--max-kl or --allow loss=+X)"
    return "inconclusive", None, doubt, []


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


def _by_limits(parity: Parity, kl: KlSummary, loss: Score) -> tuple[Verdict, str] | None:
    """Return the verdict by the limits that were given, the gravest of several; None without a limit."""
    verdicts: list[tuple[Verdict, str]] = []
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
        verdicts.append((within, said))
    order = ("fail", "inconclusive", "pass")
    return min(verdicts, key=lambda each: order.index(each[0])) if verdicts else None
