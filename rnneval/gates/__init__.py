"""Gates: baseline × candidate → a verdict. Records and tables of losses in, records out; no TensorFlow."""

from rnneval.gates.clusters import ScoreIntervals, change_of_loss, score_intervals
from rnneval.gates.ranking import BlockChange, RankedRun, Ranking, compare, rank
from rnneval.gates.sides import NamedRecord
from rnneval.gates.token_losses import LossComparison, TokenDifference, compare_losses
from rnneval.gates.verdicts import gate, judge

__all__ = [
    "BlockChange",
    "LossComparison",
    "NamedRecord",
    "RankedRun",
    "Ranking",
    "ScoreIntervals",
    "TokenDifference",
    "change_of_loss",
    "compare",
    "compare_losses",
    "gate",
    "judge",
    "rank",
    "score_intervals",
]
