"""Training of the demo's models: the same for each, about twenty seconds on two cores, with a gradient history."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnneval.callbacks import GradientNorms
from rnneval.options import Progress


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Sizes and lengths of a training run; the same recipe and seed give the same model on one machine."""

    embedding_dim: int = 64
    rnn_units: int = 128
    rows: int = 32
    segment: int = 64
    steps: int = 400
    trained: int = 90
    """Per cent of the text; the rest is held out."""
    context: bool = True
    """Whether to measure the loss by length of context."""
    anchors: int = 64
    """Number of tokens from which the gradient is followed back through time."""
    lags: int = 200
    """Number of tokens that it is followed back."""
    segments: int = 32
    """Number of segments over which the gradients of the weights are averaged."""
    learning_rate: float = 4e-3
    seed: int = 0

    def builder_arguments(self, vocab_size: int) -> dict[str, int]:
        """Return the arguments of the demo's builders."""
        return {"vocab_size": vocab_size, "embedding_dim": self.embedding_dim, "rnn_units": self.rnn_units}


def recipe_for(*, seed: int, quick: bool) -> Recipe:
    """Return the recipe of the demo; with `quick` it trains for a few seconds only."""
    return (
        Recipe(seed=seed, steps=12, rows=16, trained=99, context=False, anchors=16, lags=64, segments=8)
        if quick
        else Recipe(seed=seed)
    )


def train(
    make: Callable[..., Any],
    ids: NDArray[np.int32],
    vocab_size: int,
    recipe: Recipe,
    *,
    history: Path,
    progress: Progress | None = None,
) -> Any:
    """Train on random segments of the ids `(tokens,)`, each from the state None, as TensorFlow's tutorial does.

    The same recipe draws the same segments for every model. `history` is the folder of the gradient history; progress
    is called with steps done and in all.
    """
    keras.utils.set_random_seed(recipe.seed)
    model = make(**recipe.builder_arguments(vocab_size))
    model(ids[None, :1])  # what has its weights before it is traced is traced once only
    schedule = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, recipe.steps, alpha=0.05)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(schedule, clipnorm=1.0), loss)
    model.optimizer.build(model.trainable_variables)
    reporters: Sequence[keras.callbacks.Callback] = () if progress is None else (_Reporter(progress, recipe.steps),)
    model.fit(
        _segments(ids, recipe),
        steps_per_epoch=recipe.steps,
        epochs=1,
        verbose=0,
        shuffle=False,
        callbacks=[GradientNorms(history, existing="replace"), *reporters],
    )
    return model


def _segments(ids: NDArray[np.int32], recipe: Recipe) -> tf.data.Dataset:
    """Return batches of segments from random places of the text, drawn once from the seed."""
    rng = np.random.default_rng(recipe.seed)
    starts = rng.integers(0, len(ids) - recipe.segment - 1, (recipe.steps, recipe.rows))
    offsets = np.arange(recipe.segment + 1)
    drawn = ids[starts[..., None] + offsets]  # (steps, rows, segment + 1)
    return tf.data.Dataset.from_tensor_slices((drawn[..., :-1], drawn[..., 1:]))


class _Reporter(keras.callbacks.Callback):
    """Report the progress of the training."""

    def __init__(self, progress: Progress, steps: int) -> None:
        super().__init__()
        self._progress, self._steps = progress, steps

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self._progress(batch + 1, self._steps)
