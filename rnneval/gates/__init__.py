"""Gates: baseline × candidate → a verdict. Records in, records out; neither TensorFlow nor the disk."""

from rnneval.gates.intervals import Bounds, ScoreIntervals, score_intervals

__all__ = ["Bounds", "ScoreIntervals", "score_intervals"]
