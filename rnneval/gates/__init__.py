"""Gates: baseline × candidate → a verdict. Records and tables of losses in, records out; no TensorFlow.

Names are resolved on first use: a run takes its intervals from here, and none of the gates.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnneval.gates.clusters import ScoreIntervals, change_of_loss, score_intervals
    from rnneval.gates.ranking import BlockChange, RankedRun, Ranking, compare, rank
    from rnneval.gates.sides import NamedRecord
    from rnneval.gates.token_losses import LossComparison, TokenDifference, compare_losses
    from rnneval.gates.verdicts import gate, judge

_HOMES = {
    "clusters": ("ScoreIntervals", "change_of_loss", "score_intervals"),
    "ranking": ("BlockChange", "RankedRun", "Ranking", "compare", "rank"),
    "sides": ("NamedRecord",),
    "token_losses": ("LossComparison", "TokenDifference", "compare_losses"),
    "verdicts": ("gate", "judge"),
}

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


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module 'rnneval.gates' has no attribute {name!r}")
