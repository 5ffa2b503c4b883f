"""Work of the demo: the steps of each model, run in worker processes.

TensorFlow runs in the workers alone. A model is so small that two processes train two models in little more time than
one process trains one.
"""

from contextlib import AbstractContextManager
from functools import partial

from rnneval.demo.files import ONE, RIGHT, WRONG, DemoRecipe, Files
from rnneval.errors import UsageError
from rnneval.evaluate.executor import Pool, WorkerDiedError, connected
from rnneval.options import Progress, WorkerGroup

MODELS = (RIGHT, WRONG, ONE)
"""The models, that with the most work first."""


def workers() -> AbstractContextManager[Pool]:
    """Start as many worker processes as there are cores, or models."""
    return connected(WorkerGroup(), tasks=len(MODELS))


def measure(pool: Pool, files: Files, recipe: DemoRecipe, told: Progress | None = None) -> None:
    """Train, check and evaluate every model; `told` counts them.

    Raises:
        UsageError: the processes die.
    """
    for count, (name, done) in enumerate(pool.run(partial(_run_steps, files, recipe), MODELS), 1):
        try:
            done.result()
        except WorkerDiedError:
            raise UsageError(f"{name}: the process died twice: is there enough memory?") from None
        if told is not None:
            told(count, len(MODELS))


def _run_steps(files: Files, recipe: DemoRecipe, name: str) -> None:
    """Run all steps of a model in a worker: only there is TensorFlow imported."""
    import rnneval.models.keras  # noqa: F401 - first: it says what is missing where TensorFlow is not installed
    from rnneval.demo.steps import run_steps

    run_steps(files, recipe, name)
