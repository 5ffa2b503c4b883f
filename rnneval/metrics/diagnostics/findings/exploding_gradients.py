"""The gradient grows back through time: one step of training can undo what was learnt."""

from rnneval.metrics.diagnostics.findings import Facts, Found

NAME, THRESHOLD = "exploding-gradients", 100.0


def find(facts: Facts, threshold: float) -> Found:
    """Yield states whose gradient grows back through time."""
    for key, course in facts.gradients.through_time.items() if facts.gradients else ():
        most = max(course.median)
        if not most <= threshold:
            said = f"the gradient grows to {most:.3g} times its size over {course.median.index(most)} tokens back"
            yield key.rpartition(".")[0], f"{key}: {said}"
