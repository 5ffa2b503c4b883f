"""Work of the demo: the steps of each model, run in worker processes.

TensorFlow runs in the workers alone. A model is so small that two processes train two models in little more time than
one process trains one.
"""

from collections import deque
from contextlib import AbstractContextManager

from rnneval.demo.files import ONE, RIGHT, WRONG, DemoRecipe, Files
from rnneval.errors import UsageError
from rnneval.evaluate.executor import Pool, Task, WorkerDiedError, connected
from rnneval.options import Progress, WorkerGroup

MODELS = (RIGHT, WRONG, ONE)
"""The models, that with the most work first: its steps wait for no others."""
STEPS = ("train", "check", "measure")
"""Steps of each model: the methods of `rnneval.demo.steps.Steps`."""


def workers() -> AbstractContextManager[Pool]:
    """Start as many worker processes as there are cores, or models.

    Raises:
        UsageError: no process can be started.
    """
    return connected(WorkerGroup(), tasks=len(MODELS))


def measure(pool: Pool, files: Files, recipe: DemoRecipe, told: Progress | None = None) -> None:
    """Train, check and evaluate every model; `told` counts the steps.

    Raises:
        UsageError: the processes die.
    """
    waiting = deque(_task(files, recipe, name, 0) for name in MODELS)
    for count, done in enumerate(pool.run(waiting), 1):
        name, place = done.key
        if isinstance(done.error, WorkerDiedError):
            raise UsageError(f"{name}: the process died twice in the step {STEPS[place]!r}: is there enough memory?")
        if done.error is not None:
            raise done.error
        if place + 1 < len(STEPS):
            add = waiting.appendleft if name == MODELS[0] else waiting.append
            add(_task(files, recipe, name, place + 1))
        if told is not None:
            told(count, len(MODELS) * len(STEPS))


def _task(files: Files, recipe: DemoRecipe, name: str, place: int) -> Task:
    return Task(key=(name, place), call=_run_step, arguments=lambda: (STEPS[place], files, recipe, name))


def _run_step(step: str, files: Files, recipe: DemoRecipe, name: str) -> None:
    """Run a step in a worker: only there is TensorFlow imported."""
    import rnneval.models.keras  # noqa: F401 - first: it says what is missing where TensorFlow is not installed
    from rnneval.demo.steps import run_step

    run_step(step, files, recipe, name)
