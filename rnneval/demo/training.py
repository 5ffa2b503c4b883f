"""Training of the demo's models: the same for each, with a gradient history."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnneval.callbacks import GradientNorms
from rnneval.demo.recipe import Recipe


def train(
    make: Callable[..., Any],
    ids: NDArray[np.int32],
    vocab_size: int,
    recipe: Recipe,
    *,
    history: Path,
) -> Any:
    """Train on random segments of the ids `(tokens,)`, each from the state None, as TensorFlow's tutorial does.

    The same recipe draws the same segments for every model. `history` is the folder of the gradient history.
    """
    keras.utils.set_random_seed(recipe.seed)
    model = make(**recipe.builder_arguments(vocab_size))
    model(ids[None, :1])  # what has its weights before it is traced is traced once only
    schedule = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, recipe.steps, alpha=0.05)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(schedule, clipnorm=1.0), loss)
    model.optimizer.build(model.trainable_variables)
    model.fit(
        _segments(ids, recipe),
        steps_per_epoch=recipe.steps,
        epochs=1,
        verbose=0,
        shuffle=False,
        callbacks=[GradientNorms(history, existing="replace")],
    )
    return model


def _segments(ids: NDArray[np.int32], recipe: Recipe) -> tf.data.Dataset:
    """Return batches of segments from random places of the text, drawn once from the seed."""
    rng = np.random.default_rng(recipe.seed)
    starts = rng.integers(0, len(ids) - recipe.segment - 1, (recipe.steps, recipe.rows))
    offsets = np.arange(recipe.segment + 1)
    drawn = ids[starts[..., None] + offsets]  # (steps, rows, segment + 1)
    return tf.data.Dataset.from_tensor_slices((drawn[..., :-1], drawn[..., 1:]))
