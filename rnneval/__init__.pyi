# Types of the public names, for type checkers and editors: `__init__.py` imports them on first use.
from contextlib import AbstractContextManager

from rnneval import callbacks, errors, gates, metrics, models, testing, text
from rnneval import records as recordfile
from rnneval import records as records
from rnneval._version import __version__
from rnneval.callbacks.keras import GradientNorms, StateNorms
from rnneval.evaluate.check import check
from rnneval.evaluate.diagnostics.gradients import gradients
from rnneval.evaluate.diagnostics.trace import trace
from rnneval.evaluate.imported import from_losses
from rnneval.evaluate.opening import open  # noqa: A004 - the name in the contract: rnneval.open
from rnneval.evaluate.run import evaluate
from rnneval.evaluate.sweep import sweep
from rnneval.gates.ranking import compare
from rnneval.gates.verdicts import gate
from rnneval.lint import lint
from rnneval.models.keras.lm import RecurrentLM, wrap
from rnneval.models.step import from_step
from rnneval.parity.run import parity
from rnneval.records import read
from rnneval.render import plot
from rnneval.render.notebook import as_html, as_text
from rnneval.render.report import report
from rnneval.servers.check import check_server
from rnneval.text import Vocabulary

__all__ = [
    "GradientNorms",
    "RecurrentLM",
    "StateNorms",
    "Vocabulary",
    "__version__",
    "as_html",
    "as_text",
    "callbacks",
    "check",
    "check_server",
    "compare",
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
    "parity",
    "plot",
    "read",
    "recordfile",
    "records",
    "report",
    "sweep",
    "testing",
    "text",
    "trace",
    "wrap",
]

def without_current_folder() -> AbstractContextManager[None]: ...
def collector_paused() -> AbstractContextManager[None]: ...
