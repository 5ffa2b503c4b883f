"""The configuration asks for a layer that runs code.

## What it refuses
`Lambda` layers and pickled lambdas, `TFSMLayer`, `TorchModuleWrapper`, `JaxLayer`, `FlaxLayer`, and Python code in the
form in which Keras keeps it.

## Why
A Lambda layer is Python bytecode in the file, and loading the model runs it (or calling it does). The others load a
program from somewhere else.

## What to do
Save the weights alone and give the code of the model, which you can read: `--builder FILE.py:NAME`.

## References
- CVE-2024-3660: Lambda layers in Keras before 2.13.
- CVE-2025-9905: `safe_mode` ignored for `.h5`.
- CVE-2025-9906: safe mode switched off by the file itself.
- CVE-2026-12481: `Lambda.from_config` outside of safe mode.
- CVE-2026-1462: `TFSMLayer` loads any SavedModel.
"""

from collections.abc import Iterator

from rnneval.files.config import Config

NAME, ABOUT, ORDER = "config-code", "config", 230
ADVICE = "save the weights alone (model.save_weights('name.weights.h5')) and give --builder FILE.py:NAME"

_RUNS_CODE = {"Lambda", "LambdaLayer", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}


def find(config: Config) -> Iterator[str]:
    """By the name of the class, wherever it claims to be from, and nested in whatever."""
    for asked in config.classes:
        if asked.name.rpartition(">")[2] in _RUNS_CODE and asked.name not in (config.custom or ()):
            yield f"holds a {asked.name} layer, which runs code out of the file"
