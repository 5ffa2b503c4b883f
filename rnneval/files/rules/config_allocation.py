"""The configuration asks for larger weights than the file holds.

## What it refuses
A size beyond 4,096 that no stored weight has; more layers with weights than stored weights; a whole model larger than
what is stored for it.

## Why
Keras allocates the layers before it looks at the weights: `Dense(1_000_000_000)` takes the memory of the machine.

## What to do
Copy the file again. If it is as it was saved, it holds no weights.

## References
- CWE-789.
"""

from collections.abc import Iterator

from rnneval.files.config import Config

NAME, ABOUT, ORDER = "config-allocation", "config", 270
ADVICE = "the file is damaged, or holds no weights"

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
