"""TensorFlow lives here: opening checkpoints safely, and the state contract (`RecurrentLM`)."""

from rnneval.models import _require  # noqa: F401 - first: says in one line what is missing
