"""The model was trained through fewer tokens than its memory is long: it cannot learn what it could use."""

from rnneval.metrics.diagnostics.findings import Facts, Found

NAME, THRESHOLD = "short-truncation", 0.01


def find(facts: Facts, threshold: float) -> Found:
    """Yield gradients and contexts that reach further than training did."""
    length = facts.truncation
    if length is None:
        return
    for key, course in facts.gradients.through_time.items() if facts.gradients else ():
        reach = len(course.median) - 1 if course.gone is None else course.gone
        if reach > length:
            said = f"the gradient reaches {reach} tokens back, training went through {length}"
            yield key.rpartition(".")[0], f"{key}: {said}"
    curve = facts.run.context if facts.run else None
    if curve is None:
        return
    for k, nats in zip(curve.lengths, curve.nats, strict=True):
        more = nats - curve.whole
        if k >= length and not more <= threshold:
            yield None, f"{k} tokens of context cost {more:.3g} nats a token more than all of it"
