# Types of the public names, for type checkers and editors: `__init__.py` imports them on first use.
from contextlib import AbstractContextManager

from rnneval import callbacks, engine, errors, gates, metrics, models, testing, text
from rnneval import records as recordfile
from rnneval import records as records
from rnneval._version import __version__
from rnneval.backends.step import from_step
from rnneval.callbacks.gradient_norms import GradientNorms
from rnneval.callbacks.state_norms import StateNorms
from rnneval.engine.check import check
from rnneval.engine.diagnostics.gradients import gradients
from rnneval.engine.diagnostics.trace import trace
from rnneval.engine.evaluate import evaluate
from rnneval.engine.losses import from_losses
from rnneval.engine.opening import open  # noqa: A004 - the name in the contract: rnneval.open
from rnneval.gates import compare, compare_losses, gate
from rnneval.lint import lint
from rnneval.models.lm import RecurrentLM
from rnneval.models.wrap import wrap
from rnneval.records import read
from rnneval.render import plot
from rnneval.sweeps.many import sweep
from rnneval.text import Vocabulary

__all__ = [
    "GradientNorms",
    "RecurrentLM",
    "StateNorms",
    "Vocabulary",
    "__version__",
    "callbacks",
    "check",
    "compare",
    "compare_losses",
    "engine",
    "errors",
    "evaluate",
    "from_losses",
    "from_step",
    "gate",
    "gates",
    "gradients",
    "lint",
    "metrics",
    "models",
    "open",
    "plot",
    "read",
    "recordfile",
    "records",
    "sweep",
    "testing",
    "text",
    "trace",
    "wrap",
]

def without_current_folder() -> AbstractContextManager[None]: ...
def collector_paused() -> AbstractContextManager[None]: ...
