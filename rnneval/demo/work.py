"""Work of the demo: the steps of each model, run in worker processes.

TensorFlow runs in the workers alone. A model is so small that two processes train two models in little more time than
one process trains one.
"""

from functools import partial

from rnneval.demo.files import BUILDERS, DemoRecipe, Files
from rnneval.errors import UsageError
from rnneval.evaluate.executor import WorkerDiedError, connected
from rnneval.options import Progress, WorkerGroup


def measure(files: Files, recipe: DemoRecipe, progress: Progress | None = None) -> None:
    """Train, check and evaluate every model, each in a process; `progress` counts them.

    Raises:
        UsageError: the processes die.
    """
    with connected(WorkerGroup(), tasks=len(BUILDERS)) as pool:
        for count, (name, done) in enumerate(pool.run(partial(_run_steps, files, recipe), tuple(BUILDERS)), 1):
            try:
                done.result()
            except WorkerDiedError:
                raise UsageError(f"{name}: the process died twice: is there enough memory?") from None
            if progress is not None:
                progress(count, len(BUILDERS))


def _run_steps(files: Files, recipe: DemoRecipe, name: str) -> None:
    """Run all steps of a model in a worker: only there is TensorFlow imported."""
    import rnneval.models.keras  # noqa: F401 - first: it says what is missing where TensorFlow is not installed
    from rnneval.demo.steps import run_steps

    run_steps(files, recipe, name)
