"""Evaluation of one checkpoint on a worker; any error with it is an answer as well."""

import gc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from rnneval.errors import RnnevalError
from rnneval.records import Run, encode
from rnneval.sweeps.opening import ALONE, Opening, require_same_files, require_same_version


@dataclass(frozen=True, kw_only=True)
class Order:
    """Instructions for a worker: one checkpoint, the texts and the options."""

    path: str
    shown: str
    """The path as the user gave it, for the record."""
    sha256: str
    opening: Opening
    texts: tuple[str, ...]
    options: Mapping[str, Any]
    """Keyword arguments of `rnneval.evaluate`."""
    hashes: Mapping[str, str]
    version: str
    command: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The record as JSON, or the error."""

    record: str | None = None
    error: str = ""
    kind: str = ""
    """The rule by which the file was refused, or the class of another error."""


def measure_one(order: Order) -> Answer:
    """Evaluate one checkpoint in this process."""
    with ALONE:
        try:
            return Answer(record=encode(_measured(order)))
        except RnnevalError as error:
            return Answer(error=str(error), kind=error.rule or type(error).__name__)
        except MemoryError:
            return Answer(error="out of memory", kind="MemoryError")
        except Exception as error:
            return Answer(error=f"{type(error).__name__}: {error}", kind="unexpected")
        finally:
            _let_go()


def _measured(order: Order) -> Run:
    require_same_version(order.version)
    require_same_files(order.hashes)
    from rnneval.engine.evaluate import evaluate

    lm = order.opening.open(order.path, order.sha256, kernel=order.options.get("kernel", "auto"))
    run = evaluate(lm, list(order.texts), command=order.command, **order.options)
    assert run.checkpoint is not None  # noqa: S101 - only imported losses have none
    return msgspec.structs.replace(run, checkpoint=msgspec.structs.replace(run.checkpoint, path=order.shown))


def _let_go() -> None:
    """Free the names and graphs that Keras keeps of every model."""
    import sys

    if (keras := sys.modules.get("keras")) is not None:
        keras.utils.clear_session()
    gc.collect()
