"""Rules on the configuration of a full model: what it may ask Keras to make.

Each function is a rule, as in `rnneval.files.rules`.
"""

import re
from collections.abc import Iterator

from rnneval.files.config import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_VALUES,
    Config,
    Measures,
    is_allowed_class,
    is_allowed_function,
)
from rnneval.files.rules import rule

_RUNS_CODE = {"Lambda", "LambdaLayer", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
_PATH = re.compile(r"^(/|~|[A-Za-z]:[\\/]|\\\\)[^\s]|://|(^|[/\\])\.\.([/\\]|$)")
_FILES = {"vocabulary", "idf_weights", "filepath", "file_path", "filename", "fname", "origin", "url", "path"}
_SIZES = {
    "units", "input_dim", "output_dim", "filters", "key_dim", "value_dim", "num_heads", "num_classes", "num_tokens",
    "n", "batch size", "cells",
}  # fmt: skip
_HARMLESS = 4096  # a square of this side has 64 MB
_NO_SIZES = {"seed", "shared_object_id", "max_tokens", "max_value", "mask_value", "input_length", "vocabulary"}
_LARGEST = 1 << 20
_MAX_SEQUENTIAL, _MAX_LAYERS = 120, 350  # layers of one Sequential model, and of all models

_WEIGHTS_ALONE = "save the weights alone (model.save_weights('name.weights.h5')) and give --builder FILE.py:NAME"


@rule(about="config-text", order=210, advice="no model is described like this: do not trust the file")
def config_size(measures: Measures) -> Iterator[str]:
    """The configuration is too large, too deep or too long to be a model's.

    ## What it refuses
    Over 16 MB, nested deeper than 100, over a million values.

    ## Why
    It is measured before it is parsed: parsing makes many bytes of one, and deep nesting exhausts the stack.

    ## What to do
    Do not trust the file.

    ## References
    - CWE-674, CWE-400.
    """
    if measures.size > MAX_BYTES:
        yield f"its configuration has {measures.size:,} bytes; up to {MAX_BYTES:,} are read"
    if measures.depth > MAX_DEPTH:
        yield f"its configuration is nested more than {MAX_DEPTH} deep"
    if measures.values > MAX_VALUES:
        yield f"its configuration has more than {MAX_VALUES:,} values"


@rule(about="config-text", order=220, advice="the file is damaged, copy or save it again")
def config_json(measures: Measures) -> Iterator[str]:
    """The configuration cannot be read as JSON.

    ## What it refuses
    Text that is not JSON, not UTF-8, not a JSON object, or has a key twice.

    ## Why
    Mostly the file is damaged. A key that comes twice is read as its first value by one program and as its last by
    another.

    ## What to do
    Copy or save the file again.
    """
    if measures.problem:
        yield f"its configuration is not JSON ({measures.problem})"


@rule(about="config", order=230, advice=_WEIGHTS_ALONE)
def config_code(config: Config) -> Iterator[str]:
    """The configuration asks for a layer that runs code.

    ## What it refuses
    `Lambda` layers and pickled lambdas, `TFSMLayer`, `TorchModuleWrapper`, `JaxLayer`, `FlaxLayer`, and Python code in
    the form in which Keras keeps it.

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
    # The name of the class decides, whatever module it claims to be from.
    for asked in config.classes:
        if asked.name.rpartition(">")[2] in _RUNS_CODE and asked.name not in (config.custom or ()):
            yield f"holds a {asked.name} layer, which runs code out of the file"


@rule(
    about="config",
    order=240,
    advice=f"{_WEIGHTS_ALONE}; of a full model with layers of your own, name the module that has them",
)
def config_class(config: Config) -> Iterator[str]:
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
    # Classes of the user's own module are allowed by name. Each layer of Keras 2 is rewritten or refused later.
    if config.keras2 or config.custom is None:
        return
    for asked in config.classes:
        known = asked.is_function or {asked.name, asked.registered} & {*config.custom}
        if not known and not is_allowed_class(asked.module, asked.name, asked.registered):
            where = f"{asked.module}.{asked.name}" if asked.module else asked.name
            alias = f" registered as {asked.registered}" if asked.registered not in {"", asked.name} else ""
            yield f"asks for {where}{alias}, which is not on the list of Keras' own classes"


@rule(about="config", order=250, advice=f"{_WEIGHTS_ALONE}; a function of your own is known by --builder, too")
def config_function(config: Config) -> Iterator[str]:
    """The configuration names a function that is not one of Keras' activations.

    ## What it refuses
    Any function by name (`keras.utils.get_file`, `keras.models.load_model`, `numpy.load` …) but the activations, the
    names of initializers, regularizers and constraints.

    ## Why
    Functions named by a file are called with arguments from the file: one to download, one to load, and code runs
    without any Lambda.

    ## What to do
    Give the code: `--builder FILE.py:NAME` names the module with your own functions.

    ## References
    - CVE-2025-8747: `keras.utils.get_file` by name, in safe mode.
    - CVE-2025-9906: `keras.config.enable_unsafe_deserialization` by name.
    """
    # A function is written as an object, or as a plain word where an activation is expected.
    if config.keras2 or config.custom is None:
        return
    for asked in config.classes:
        known = {asked.name, asked.registered} & {*config.custom}
        if asked.is_function and not known and not is_allowed_function(asked.module, asked.name, asked.registered):
            yield f"asks for the function {asked.module or 'builtins'}.{asked.name}"
    for key, word in config.words:
        if key.endswith("activation") and word not in config.custom and not is_allowed_function("", word, word):
            yield f"asks for the function {word} as {key}"


@rule(
    about="config",
    order=260,
    advice=f"save the model with its vocabulary inside (set_vocabulary with a list), or {_WEIGHTS_ALONE}",
)
def config_path(config: Config) -> Iterator[str]:
    """The configuration holds a path or an address where a value belongs.

    ## What it refuses
    A `vocabulary` that is a string (a path to Keras); any setting that is an absolute path, an address, or leads
    upwards with `..`.

    ## Why
    Keras opens such a path while it loads the model: a file of yours becomes part of the model, or an address is
    called.

    ## What to do
    Set the vocabulary as a list before saving.

    ## References
    - CVE-2025-12058: `StringLookup(vocabulary="/etc/passwd")`.
    """
    for key, word in config.words:
        if key in _FILES or _PATH.search(word):
            yield f"its setting {key} is {word[:60]!r}: a file or an address"


@rule(
    about="config",
    order=270,
    advice="the file is damaged, or holds no model of this kind; weights alone can be given with --builder "
    "FILE.py:NAME",
)
def config_allocation(config: Config) -> Iterator[str]:
    """The configuration asks for larger weights than the file holds, or for more layers than a model has.

    ## What it refuses
    A size beyond 4,096 that no stored weight has; more layers with weights than stored weights; a full model larger
    than what is stored for it. Over 120 layers in one Sequential model, over 350 in all.

    ## Why
    Keras allocates the layers before it looks at the weights: `Dense(1_000_000_000)` takes the memory of the machine.
    It builds a Sequential model anew for each layer that is added, so that the time grows with the square of their
    number: 120 GRU layers of 4 units took 3.6 CPU seconds, 500 Dropout layers more than a minute. The time of a
    functional model grows in proportion: 250 GRU layers took 3.5 CPU seconds, 600 layers of residual blocks 4.2.

    ## What to do
    Copy the file again. If it is as it was saved, it holds no weights. For a model of more layers, save the weights
    alone and give `--builder`.

    ## References
    - CWE-789.
    """
    stored = max((size for shape in config.shapes for size in shape), default=0)
    for key, size in sorted(config.numbers, key=lambda found: -found[1]):  # the largest says most
        limit = max(_HARMLESS, stored) if key in _SIZES else max(_LARGEST, stored)
        if key not in _NO_SIZES and size > limit:
            yield f"its configuration asks for {key}={size:,}, but its largest weight has {stored:,} rows"
    if config.sized_layers > len(config.shapes):
        yield f"it has {config.sized_layers:,} layers with weights, and {len(config.shapes):,} weights are stored"
    for kind, count in config.layers:
        if kind.endswith("Sequential") and count > _MAX_SEQUENTIAL:
            yield f"it has a Sequential model of {count:,} layers; up to {_MAX_SEQUENTIAL} are built"
    if (layers := sum(count for _, count in config.layers)) > _MAX_LAYERS:
        yield f"it has {layers:,} layers; up to {_MAX_LAYERS} are built"
