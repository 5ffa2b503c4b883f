"""The configuration asks for a class that is not on the list of Keras' own layers.

## What it refuses
Any class, module or registered name that is not on the list of layers, operations, initializers, regularizers,
constraints and policies of Keras that have no way to run code, open files or take functions.

## Why
Keras imports the module that a file names and calls what it finds there. A list of what is forbidden was bypassed
again and again; a list of what is allowed is not.

## What to do
Give the code: `--builder FILE.py:NAME` names the module with your own classes, and then they are known by name.

## References
- CVE-2025-1550: modules named by the file were imported and called.
- `keras_hub`, `keras_nlp`, `keras_cv` beside the model were imported by Keras.
"""

from collections.abc import Iterator

from rnneval.files.allowed import is_allowed_class
from rnneval.files.config import Config

NAME, ABOUT, ORDER = "config-class", "config", 240
ADVICE = (
    "save the weights alone (model.save_weights('name.weights.h5')) and give --builder FILE.py:NAME; of a"
    " whole model with layers of your own, name the module that has them"
)


def find(config: Config) -> Iterator[str]:
    """Those of the user's own module are allowed by name. Of Keras 2, each layer is rewritten or refused."""
    for asked in config.classes:
        if (
            config.keras2
            or config.custom is None
            or asked.is_function
            or {asked.name, asked.registered} & {*config.custom}
        ):
            continue
        if not is_allowed_class(asked.module, asked.name, asked.registered):
            where = f"{asked.module}.{asked.name}" if asked.module else asked.name
            alias = f" registered as {asked.registered}" if asked.registered not in {"", asked.name} else ""
            yield f"asks for {where}{alias}, which is not on the list of Keras' own classes"
