"""The configuration names a function that is not one of Keras' activations.

## What it refuses
Any function by name (`keras.utils.get_file`, `keras.models.load_model`, `numpy.load` …) but the activations, the names
of initializers, regularizers and constraints.

## Why
Functions named by a file are called with arguments from the file: one to download, one to load, and code runs without
any Lambda.

## What to do
Give the code: `--builder FILE.py:NAME` names the module with your own functions.

## References
- CVE-2025-8747: `keras.utils.get_file` by name, in safe mode.
- CVE-2025-9906: `keras.config.enable_unsafe_deserialization` by name.
"""

from collections.abc import Iterator

from rnneval.files.allowed import is_allowed_function
from rnneval.files.config import Config

NAME, ABOUT, ORDER = "config-function", "config", 250
ADVICE = (
    "save the weights alone (model.save_weights('name.weights.h5')) and give --builder FILE.py:NAME; a "
    "function of your own is known by --builder, too"
)


def find(config: Config) -> Iterator[str]:
    """Written out as an object, or as a plain word where an activation is expected."""
    if config.keras2 or config.custom is None:
        return
    for asked in config.classes:
        known = {asked.name, asked.registered} & {*config.custom}
        if asked.is_function and not known and not is_allowed_function(asked.module, asked.name, asked.registered):
            yield f"asks for the function {asked.module or 'builtins'}.{asked.name}"
    for key, word in config.words:
        if key.endswith("activation") and word not in config.custom and not is_allowed_function("", word, word):
            yield f"asks for the function {word} as {key}"
