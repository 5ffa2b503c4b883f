"""TensorFlow lives here: opening checkpoints safely, and the state contract (`RecurrentLM`)."""

from rnneval import without_current_folder

with without_current_folder():
    from rnneval.models import _require  # noqa: F401 - first: says in one line what is missing
    from rnneval.models.lm import RecurrentLM
    from rnneval.models.opening import open  # noqa: A004 - the name in the contract: rnneval.open
    from rnneval.models.wrap import wrap

__all__ = ["RecurrentLM", "open", "wrap"]
