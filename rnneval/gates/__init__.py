"""Gates: baseline × candidate → a verdict. Records in, records out; neither TensorFlow nor the disk."""

from rnneval.gates.intervals import Bounds, ScoreIntervals, score_intervals
from rnneval.gates.sides import Named
from rnneval.gates.verdicts import gate, judge

__all__ = ["Bounds", "Named", "ScoreIntervals", "gate", "judge", "score_intervals"]
