"""Gates: baseline × candidate → a verdict. Records in, records out; neither TensorFlow nor the disk."""

from rnneval.gates.intervals import Bounds, Change, ScoreIntervals, change_of_loss, score_intervals
from rnneval.gates.ranking import BlockChange, Ranking, Row, compare, rank
from rnneval.gates.sides import Named
from rnneval.gates.verdicts import gate, judge

__all__ = [
    "BlockChange",
    "Bounds",
    "Change",
    "Named",
    "Ranking",
    "Row",
    "ScoreIntervals",
    "change_of_loss",
    "compare",
    "gate",
    "judge",
    "rank",
    "score_intervals",
]
