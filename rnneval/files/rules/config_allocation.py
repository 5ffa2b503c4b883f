"""The configuration asks for larger weights than the file holds, or for more layers than a model has.

## What it refuses
A size beyond 4,096 that no stored weight has; more layers with weights than stored weights; a whole model larger than
what is stored for it. Over 120 layers in one Sequential model, over 350 in all.

## Why
Keras allocates the layers before it looks at the weights: `Dense(1_000_000_000)` takes the memory of the machine. It
builds a Sequential model anew for each layer that is added, so that the time grows with the square of their number: 120
GRU layers of 4 units took 3.6 CPU seconds, 500 Dropout layers more than a minute. The time of a functional model grows
in proportion: 250 GRU layers took 3.5 CPU seconds, 600 layers of residual blocks 4.2.

## What to do
Copy the file again. If it is as it was saved, it holds no weights. For a model of more layers, save the weights alone
and give `--builder`.

## References
- CWE-789.
"""

from collections.abc import Iterator

from rnneval.files.config import Config

NAME, ABOUT, ORDER = "config-allocation", "config", 270
ADVICE = "the file is damaged, or holds no model of this kind; weights alone can be given with --builder FILE.py:NAME"

_SIZES = {
    "units",
    "input_dim",
    "output_dim",
    "filters",
    "key_dim",
    "value_dim",
    "num_heads",
    "num_classes",
    "num_tokens",
    "n",
    "batch size",
    "cells",
}
_HARMLESS = 4096  # a square of this side has 64 MB
_NO_SIZES = {"seed", "shared_object_id", "max_tokens", "max_value", "mask_value", "input_length", "vocabulary"}
_LARGEST = 1 << 20
_MOST_SEQUENTIAL, _MOST_LAYERS = 120, 350


def find(config: Config) -> Iterator[str]:
    """The largest size first: it says most."""
    stored = config.largest_stored
    sizes = sorted(config.numbers, key=lambda found: -found[1])
    for key, size in sizes:
        limit = max(_HARMLESS, stored) if key in _SIZES else max(_LARGEST, stored)
        if key not in _NO_SIZES and size > limit:
            yield f"its configuration asks for {key}={size:,}, but its largest weight has {stored:,} rows"
    if config.sized_layers > config.stored_weights:
        yield f"it has {config.sized_layers:,} layers with weights, and {config.stored_weights:,} weights are stored"
    for kind, count in config.layers:
        if kind.endswith("Sequential") and count > _MOST_SEQUENTIAL:
            yield f"it has a Sequential model of {count:,} layers; up to {_MOST_SEQUENTIAL} are built"
    if (layers := sum(count for _, count in config.layers)) > _MOST_LAYERS:
        yield f"it has {layers:,} layers; up to {_MOST_LAYERS} are built"
