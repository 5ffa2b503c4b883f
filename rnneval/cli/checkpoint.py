"""Steps that the commands share which read a text with a checkpoint."""

import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from rnneval.cli.output import chatter_held, command_line, progress_bar, require
from rnneval.errors import VocabularyError
from rnneval.options import DiagnosticOptions, EvaluateOptions, OpenOptions

if TYPE_CHECKING:
    from rnneval.models.protocol import LanguageModel

_BUILDER = re.compile(r".+\.(?:py|ipynb):[A-Za-z_][\w.]*|[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
T = TypeVar("T", EvaluateOptions, DiagnosticOptions)


@contextmanager
def reading(options: T, doing: str, *, quiet: bool) -> Iterator[T]:
    """Let the block read a text with options that show progress; messages of C++ libraries are held back."""
    with chatter_held(), progress_bar(doing, quiet=quiet) as progress:
        yield replace(options, progress=progress, command=command_line())


def opened(checkpoint: str, opening: OpenOptions) -> "LanguageModel":
    """Open a checkpoint with the backend that is asked for."""
    from rnneval.evaluate.opening import open as open_checkpoint

    return cast("LanguageModel", open_checkpoint(checkpoint, **vars(opening)))


def opened_by_any(checkpoint: str, opening: OpenOptions, *, keras: str = "") -> "LanguageModel":
    """Open a checkpoint with any backend, unless `keras` needs Keras; refuse a folder without a vocabulary at once."""
    from rnneval.evaluate.opening import with_automatic_backend

    if not (opening.builder or opening.vocabulary or opening.vocabulary_from) and Path(checkpoint).is_dir():
        from rnneval.checkpoints.pretrained import TOKENIZER, no_tokenizer, pretrained

        folder = pretrained(Path(checkpoint))
        if folder is not None and not (folder.path / TOKENIZER).is_file():
            raise VocabularyError(no_tokenizer(folder.path))
    return opened(checkpoint, replace(opening, backend=with_automatic_backend(opening, keras=keras).backend))


def names_builder(what: str, opening: OpenOptions) -> bool:
    """Return whether `FILE.py:NAME` stands in place of a checkpoint; refuse source without a name."""
    is_builder = _BUILDER.fullmatch(what) is not None and not Path(what).exists()
    message = f"{what} is source: name what makes the model in it, such as {what}:MyModel"
    require(is_builder or not what.endswith((".py", ".ipynb")), f"{message} (rnneval lint reads it as it is)")
    message = f"{what} is a builder already: give a checkpoint with --builder, or leave it out"
    require(not is_builder or opening.builder is None, message)
    return is_builder


def built(what: str, opening: OpenOptions) -> Any:
    """Return the model that a builder makes, as its author wired it: one that cannot be evaluated can be checked."""
    from rnneval.checkpoints.usercode import builder_of
    from rnneval.evaluate.opening import beside_for, require_builder_runs
    from rnneval.text import given_vocabulary

    require_builder_runs(opening, what)
    builder = builder_of(opening, what)
    assert builder is not None  # noqa: S101 - `what` names one
    vocabulary = given_vocabulary(opening.vocabulary, opening.vocabulary_from)
    if vocabulary is None and "vocab_size" not in builder.arguments:
        vocabulary = beside_for(builder, Path(what.rpartition(":")[0]))
    return builder.build(vocabulary, around=_eagerly)


def _eagerly() -> AbstractContextManager[None]:
    """Let functions of TensorFlow run eagerly while a model is made, if its code has imported TensorFlow."""
    if "tensorflow" not in sys.modules:
        return nullcontext()
    from rnneval.models.keras.lm import eagerly

    return eagerly()
