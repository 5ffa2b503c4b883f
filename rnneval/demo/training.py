"""Train the demo's model: two GRU layers, small enough for a minute on two cores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Sizes and lengths of a training run; the same recipe and seed give the same model on one machine."""

    embedding: int = 64
    units: tuple[int, ...] = (128, 128)
    rows: int = 32
    segment: int = 64
    steps: int = 500
    learning_rate: float = 4e-3
    seed: int = 0


def stacked_gru(width: int, recipe: Recipe) -> keras.Sequential:
    """Make an untrained stack: ids `(batch, time)` → logits `(batch, time, width)`."""
    layers = [keras.layers.GRU(units, return_sequences=True) for units in recipe.units]
    return keras.Sequential(
        [keras.layers.Embedding(width, recipe.embedding), *layers, keras.layers.Dense(width)], name="demo"
    )


def train(ids: NDArray[np.int32], width: int, recipe: Recipe, progress: Progress | None = None) -> keras.Sequential:
    """Train on random segments of the ids `(tokens,)`; progress is told steps done and in all."""
    keras.utils.set_random_seed(recipe.seed)
    model = stacked_gru(width, recipe)
    schedule = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, recipe.steps, alpha=0.05)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(schedule, clipnorm=1.0), loss)
    told: Sequence[keras.callbacks.Callback] = () if progress is None else (_Told(progress, recipe.steps),)
    model.fit(
        _segments(ids, recipe), steps_per_epoch=recipe.steps, epochs=1, verbose=0, shuffle=False, callbacks=list(told)
    )
    return model


def _segments(ids: NDArray[np.int32], recipe: Recipe) -> tf.data.Dataset:
    """Batches of segments from random places of the text, drawn once from the seed."""
    rng = np.random.default_rng(recipe.seed)
    starts = rng.integers(0, len(ids) - recipe.segment - 1, (recipe.steps, recipe.rows))
    offsets = np.arange(recipe.segment + 1)
    drawn = ids[starts[..., None] + offsets]  # (steps, rows, segment + 1)
    return tf.data.Dataset.from_tensor_slices((drawn[..., :-1], drawn[..., 1:]))


class _Told(keras.callbacks.Callback):
    """Tells how far the training is."""

    def __init__(self, progress: Progress, steps: int) -> None:
        super().__init__()
        self._progress, self._steps = progress, steps

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self._progress(batch + 1, self._steps)
