"""A whole model may not be larger than what its file stores for it: asked before each weight is allocated."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from rnneval.files.rules import refused

_HARMLESS = 1 << 22
"""Numbers; 16 MB, for what no file stores: random generators, states."""


@contextmanager
def allocation_limited(path: Path, stored: int) -> Iterator[None]:
    """Refuse the weight with which all layers that are made while the block runs would outgrow the stored numbers.

    Sizes in a configuration can be looked at one by one before (rule config-allocation); what they come to together
    only Keras knows, and it tells `Layer.add_weight` before it allocates.

    Raises:
        CheckpointError: they would.
    """
    original = keras.layers.Layer.add_weight
    asked = 0

    def add_weight(self: Any, shape: Any = None, *arguments: Any, **named: Any) -> Any:
        nonlocal asked
        asked += math.prod(shape or ())
        if asked > stored + _HARMLESS:
            raise refused(
                "config-allocation", path, f"its layers have {asked:,} numbers, and the file holds {stored:,}"
            )
        return original(self, shape, *arguments, **named)

    keras.layers.Layer.add_weight = add_weight
    try:
        yield
    finally:
        keras.layers.Layer.add_weight = original
