"""Opening a checkpoint: nothing in the file is run, and every assumption is noted."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rnneval.errors import CheckpointError, UsageError, VocabularyError, WeightShapeError
from rnneval.files import Artefact, private_copy, require_builder
from rnneval.files.artefact import FULL_MODELS, require_not_replaced, require_sha256
from rnneval.models.lm import RecurrentLM, eagerly
from rnneval.models.loading import Loaded, custom_objects, in_float32, load_full_model, nothing_beside
from rnneval.models.lookups import as_vocabulary, from_ids, lookups_of, vocabulary_among, vocabulary_inside
from rnneval.models.saved_model import stored_vocabulary
from rnneval.models.vocabulary_size import explained
from rnneval.models.weights import load_weights
from rnneval.models.wrap import call_once, wrap
from rnneval.options import OpenOptions, on_path
from rnneval.records.paths import read_regular
from rnneval.records.run import Checkpoint
from rnneval.text import Vocabulary, find_vocabulary, siblings
from rnneval.usercode import Builder, builder_of

_MOST_MAP_BYTES = 1 << 24


@on_path(OpenOptions)
def open(path: str | os.PathLike[str], options: OpenOptions) -> RecurrentLM:  # noqa: A001 - the name in the contract: rnneval.open
    """Open a saved model with Keras; `rnneval.open` has the same arguments, and opens with other backends too.

    Raises:
        CheckpointError, VocabularyError, UsageError: as `rnneval.open`.
    """
    if options.backend == "numpy":
        raise UsageError("backend 'numpy' is not known here: rnneval.open opens with it")
    with _loaded(path, options) as (artefact, read, chosen, origin):
        given = chosen if chosen is not None else read.vocabulary
        try:
            lm = wrap(read.model, vocabulary=given, checkpoint=origin, window=options.window, notes=read.notes)
        except CheckpointError as error:
            raise CheckpointError(f"{artefact.path}: {error}") from error
        return lm if given is not None else _with_vocabulary(lm, artefact, read.lookups)


@on_path(OpenOptions)
def load_model(path: str | os.PathLike[str], options: OpenOptions) -> Any:
    """Load a saved model as its author made it, whether or not it can be evaluated: its wiring can still be judged.

    Takes what `open` takes, and refuses the same files.
    """
    with _loaded(path, options) as (_, read, _, _):
        return read.model


@contextmanager
def _loaded(
    path: str | os.PathLike[str], options: OpenOptions
) -> Iterator[tuple[Artefact, Loaded, Vocabulary | None, Checkpoint]]:
    """Load the model and yield it with its file, the vocabulary that was given, and its origin."""
    # What the model's layers and a tokenizer need is imported when they are made: with nothing from the current folder.
    with nothing_beside(options.builder), private_copy(Path(path)) as artefact:
        origin = _origin(artefact, options.expect_sha256)
        given = as_vocabulary(options.vocabulary, options.vocabulary_from)
        require_builder(artefact, has_builder=options.builder is not None)
        builder = builder_of(options)
        try:
            read = _model(artefact, builder, given, options.window, _map(options.weight_map))
        finally:
            if builder is not None and builder.runs_everything:
                require_not_replaced(artefact, builder.spec)
        yield artefact, read, given, origin


def _origin(artefact: Artefact, expected: str | None) -> Checkpoint:
    sha256 = require_sha256(artefact, expected)
    return Checkpoint(
        path=str(artefact.path), sha256=sha256, format=artefact.format, contract=1, parameters=0, dtype="", layers=()
    )


def _model(
    artefact: Artefact,
    builder: Builder | None,
    vocabulary: Vocabulary | None,
    window: int | None,
    mapped: Mapping[str, Any] | None,
) -> Loaded:
    if artefact.format in FULL_MODELS:
        full = load_full_model(artefact, custom_objects(builder) if builder is not None else {})
        half = in_float32(full.model)
        found = from_ids(full.model)
        lines = builder.notes(everything=True) if builder is not None else ()
        return Loaded(model=found.model, vocabulary=found.vocabulary, notes=(*lines, *full.notes, *half, *found.notes))
    assert builder is not None  # noqa: S101 - `require_builder` has refused the others
    if vocabulary is None and "vocab_size" not in builder.arguments and builder.takes_vocabulary():
        vocabulary = _beside(artefact)

    lookups: dict[str, Any] = {}

    def loaded(builder: Builder) -> tuple[Any, tuple[str, ...]]:
        model = builder.build(vocabulary, around=eagerly, seen=lambda made: lookups.update(lookups_of(made)))
        with eagerly():
            call_once(model, vocabulary_width=None if vocabulary is None else vocabulary.size, window=window)
            return model, load_weights(model, artefact, mapped)

    try:
        model, notes = loaded(builder)
    except WeightShapeError as error:
        raise explained(error, builder, vocabulary, loaded) from error
    return Loaded(model=model, notes=(*builder.notes(), *notes, *in_float32(model)), lookups=lookups)


def _map(given: str | os.PathLike[str] | Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if given is None or isinstance(given, Mapping):
        return given
    try:
        read = json.loads(read_regular(given, _MOST_MAP_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"--weight-map {given}: cannot be read: {why}: a JSON map of names is needed") from error
    if not isinstance(read, dict):
        raise UsageError(f"--weight-map {given}: holds a {type(read).__name__}: a JSON map of names is needed")
    return read


def _beside(artefact: Artefact) -> Vocabulary | None:
    """Return the only vocabulary in or beside a checkpoint, for a builder that must know its size; None otherwise."""
    if artefact.format == "saved-model" and (stored := stored_vocabulary(artefact)) is not None:
        return stored
    found: dict[str, Vocabulary] = {}
    for candidate in siblings(_place(artefact)):
        try:
            vocabulary = Vocabulary.from_file(candidate)
        except VocabularyError:
            continue
        found.setdefault(vocabulary.sha256, vocabulary)
    return next(iter(found.values())) if len(found) == 1 else None


def _place(artefact: Artefact) -> Path:
    """Return the path beside which vocabularies are searched: of a TensorFlow checkpoint its folder."""
    return artefact.path.absolute().parent if artefact.format == "tf-checkpoint" else artefact.path


def _with_vocabulary(lm: RecurrentLM, artefact: Artefact, lookups: Mapping[str, Any]) -> RecurrentLM:
    """Find the vocabulary inside the model, in the builder's code, then beside the checkpoint; else keep the reason."""
    try:
        inside = vocabulary_inside(lm.model, lm.width) or vocabulary_among(lookups, lm.width)
        if inside is None and artefact.format == "saved-model":
            inside = stored_vocabulary(artefact)
        found = inside if inside is not None else find_vocabulary(_place(artefact), lm.width)
        return replace(lm, vocabulary=found.fit(lm.width))
    except VocabularyError as error:
        return replace(lm, why_no_vocabulary=str(error))
