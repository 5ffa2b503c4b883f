"""The gradient vanishes after a few tokens: the model cannot learn from tokens further back."""

from rnneval.metrics.diagnostics.findings import Facts, Found

NAME, THRESHOLD = "vanishing-gradients", 5.0


def find(facts: Facts, threshold: float) -> Found:
    """Yield states whose gradient vanishes too soon."""
    for key, course in facts.gradients.through_time.items() if facts.gradients else ():
        if course.gone is not None and not course.gone >= threshold:
            yield key.rpartition(".")[0], f"{key}: 99 % of the gradient is gone after {course.gone} tokens"
