"""What a verdict says: amounts in a reader's unit, reasons in one sentence."""

import math

from rnneval.gates.clusters import Clusters
from rnneval.gates.noninferiority import LEVEL, Tested
from rnneval.gates.pairing import Paired
from rnneval.metrics import Metric, by_name

_LARGEST_IN_PER_CENT = 20.0
"""Nats; a larger difference, of a model that diverged, is shown in nats: e to the power of it says nothing."""


def amount(metric: str, unit: str, value: float) -> str:
    """Write a difference: per cent for a perplexity, else in its unit.

    >>> amount("perplexity", "nats a token", math.log(1.01)), amount("accuracy", "share", -0.0123)
    ('+1 %', '-0.0123 share')
    """
    return number(metric, value) if value == 0 or in_per_cent(metric) else f"{number(metric, value)} {unit}"


def number(metric: str, value: float) -> str:
    """Write a difference without its unit, except for per cent and for differences too large for it.

    >>> number("perplexity", math.log(1.01)), number("accuracy", -0.0123), number("accuracy", 0.0)
    ('+1 %', '-0.0123', '0')
    >>> number("perplexity", 905.9)
    '+905.9 nats'
    """
    if value == 0:
        return "0"
    if not in_per_cent(metric):
        return f"{value:+.3g}"
    return f"{100 * math.expm1(value):+.3g} %" if value < _LARGEST_IN_PER_CENT else f"{value:+.4g} nats"


def in_per_cent(metric: str) -> bool:
    """Return whether differences of a metric are shown in per cent; false for a limit or an unknown metric.

    >>> in_per_cent("perplexity"), in_per_cent("accuracy"), in_per_cent("perplexity<=5.3")
    (True, False, False)
    """
    known = by_name().get(metric)
    return known is not None and known.logarithmic


def reason_of(measured: Metric, tested: Tested, paired: Paired, clusters: Clusters | None, level: float) -> str:
    """Say why a verdict is what it is."""

    def say(value: float) -> str:
        return amount(measured.name, measured.difference_unit, value)

    seen = f"{say(tested.value)}, 95 % bounds {say(tested.low)} and {say(tested.high)}, allowed {say(tested.allowed)}"
    if not tested.se:
        return _without_error(tested, say(tested.value), say(tested.allowed))
    if tested.passes:
        return f"within what is allowed: {seen}"
    if tested.p_worse <= level:
        return f"worse than allowed: {seen}"
    if tested.p_worse <= LEVEL:
        return (
            f"{seen}: worse than allowed on its own, but not at the level {level:.3g} where several metrics are asked"
        )
    found = f"this text finds what lies {say(tested.mdd)} beyond it in 4 of 5 cases"
    return f"neither within nor beyond: {seen}; {found}; {_needed(tested, paired, clusters)}"


def scope(about: str, claim: str) -> str:
    """Say what a verdict is about."""
    seeds = "; other seeds were not tested" if about == "these checkpoints" else ""
    return f"about {about} on {claim}{seeds}"


def kilobytes(count: float) -> str:
    """Write a size of text.

    >>> kilobytes(335_400), kilobytes(2_400_000)
    ('335 kB', '2.4 MB')
    """
    return f"{count / 1e6:.3g} MB" if count >= 1e6 else f"{count / 1e3:.3g} kB"


def _without_error(tested: Tested, value: str, allowed: str) -> str:
    if tested.value == 0:
        rounding = " beyond float rounding (1e-6 nats a token)" if tested.rounded else ""
        return f"no difference in any block{rounding}, allowed {allowed}"
    within = "within" if tested.passes else "worse than"
    return f"{within} what is allowed: {value} in every part of the text, allowed {allowed}"


def _needed(tested: Tested, paired: Paired, clusters: Clusters | None) -> str:
    times = tested.text_needed
    if times > 1000:
        if tested.se_runs > tested.se_text:
            return "the spread between runs is the larger part of the error: give more runs a side"
        return "it lies so near to what is allowed that no text of a practical size settles it"
    if clusters is not None and clusters.kind == "documents":
        needed = f"about {math.ceil(times * clusters.count)} such documents ({times:.1f} times as many)"
    else:
        size = kilobytes(times * float((paired.end - paired.start).sum()))
        needed = f"about {size} of text ({times:.1f} times as much)"
    return f"{needed} would settle it in 4 of 5 cases, if the difference is what it seems"
