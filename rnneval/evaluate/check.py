"""`rnneval.check`: the wiring check of any model, and what follows from it: a model that fails has no valid score."""

import os
from collections.abc import Iterable
from typing import Any, cast

from rnneval.errors import CheckpointError, UsageError
from rnneval.models.protocol import LanguageModel
from rnneval.processes import one_thread
from rnneval.records.run import Warning  # noqa: A004 - the record's own word
from rnneval.records.wiring import Wiring, breaks_runs

_BLIND_TO_ROWS = frozenset({"causal", "chunk", "leaves", "training", "used"})
"""Tests of behaviour that a model whose rows are independent of each other, and of earlier calls, may fail."""


@one_thread()
def check(
    model: Any,
    *,
    declare: str | Iterable[str] = (),
    vocab_size: int | None = None,
    seed: int = 0,
    text: str | os.PathLike[str] | None = None,
) -> Wiring:
    """Prove (or refute) that each layer's state goes back into the same layer.

    A Keras model is run eagerly over a few short segments of random ids, with every recurrent layer replaced by a stub
    that emits numbers of its own; then, as it is, by tests of its behaviour. Its weights and states are left as
    they were. A model of another backend says itself how its states are wired.

    Args:
        model: A Keras model or PyTorch module, a model from `rnneval.open`, `rnneval.wrap` or `rnneval.from_step`, or
            any callable object that holds recurrent layers or cells of Keras.
        declare: Intended by its author: `causal=false`, `stateless=LAYER`, `shared=LAYER`, `mixed=LAYER`,
            `chunked=LAYER`, `chunked=true`, `scaled=call`.
        vocab_size: The number of ids; by default the size of its embedding, else the width of its logits.
        seed: Random seed for the ids and the emitted numbers.
        text: Text by whose loss the pairs of an ONNX graph are judged that reads one token a call.

    Returns:
        The wiring record: its `verdict` is `pass`, `fail` or `inconclusive`, its `findings` say what is wrong and
        where; `print` shows the matrix of which layer got which state.

    Raises:
        UsageError: a path was given in place of a model; a declaration is not one, or names a layer that the model
            does not have; or `vocab_size` is given for a model that knows its number of ids.
    """
    declare = [declare] if isinstance(declare, str) else declare
    # Each kind of model needs other modules: a run imports those of its own model.
    from rnneval.models.numpy.lm import NumpyLM

    if isinstance(model, NumpyLM):
        from rnneval.wiring.by_construction import check_numpy

        _require_known_width(model, vocab_size)
        return check_numpy(model, declare=declare)
    from rnneval.models.mlx import MlxStep
    from rnneval.models.onnx import PairedGraph, PairedStep
    from rnneval.models.step import StepLM

    step = model.function.step if isinstance(model, StepLM) else None
    if isinstance(model, PairedGraph) or isinstance(step, PairedStep):
        from rnneval.wiring.graphs import check as check_graph

        _require_known_width(model, vocab_size)
        return check_graph(model, declare=declare, seed=seed, text=text)
    if isinstance(step, MlxStep):
        from rnneval.wiring.mlx import check as check_mlx

        _require_known_width(model, vocab_size)
        return check_mlx(model, declare=declare, seed=seed)
    from rnneval.models.wrapping import is_module, no_model, wrap

    if isinstance(model, StepLM) or is_module(model):
        from rnneval.wiring.step import check as check_step

        _require_known_width(model, vocab_size)
        return check_step(cast("StepLM", wrap(model)), declare=declare, seed=seed)
    if isinstance(model, str | os.PathLike | type) or not (callable(model) or isinstance(model, LanguageModel)):
        raise UsageError(f"rnneval.check takes a model, and was given {no_model(model)}")
    from rnneval.wiring.keras.gathering import check_layers

    return check_layers(model, declare=declare, vocab_size=vocab_size, seed=seed)


def _require_known_width(model: Any, vocab_size: int | None) -> None:
    if vocab_size is not None:
        raise UsageError(f"vocab_size={vocab_size!r}: a {type(model).__name__} knows its number of ids: leave it out")


def fails(wiring: Wiring | None, segment: int | None = None) -> bool:
    """Return whether a model fails the check in calls of `segment` tokens, or of any number: no score is valid then."""
    return wiring is not None and wiring.verdict == "fail" and breaks_runs(wiring, segment)


def require_explained(lm: LanguageModel, wiring: Wiring | None) -> None:
    """Refuse a model that differs between one call and several, if the wiring check does not find what is wrong."""
    if lm.differs_by_cut and not fails(wiring):
        raise CheckpointError(lm.differs_by_cut)


def depends_on_cut(wiring: Wiring | None) -> bool:
    """Return whether scores depend on how the text is cut into segments: by a fault, or as its author declared."""
    return fails(wiring) or bool(_failed(wiring) & {"causal", "chunk"})


def rows_apart(wiring: Wiring | None) -> bool:
    """Return whether no test saw that rows, or calls that came before, change each other's predictions."""
    return _failed(wiring) <= _BLIND_TO_ROWS


def _failed(wiring: Wiring | None) -> set[str]:
    oracles = {} if wiring is None else wiring.oracles
    return {name for name, oracle in oracles.items() if oracle.verdict == "fail"}


def wiring_warnings(wiring: Wiring | None, segment: int | None = None) -> list[Warning]:
    """Return the warnings of a record about the wiring of a model that was called with `segment` tokens."""
    if wiring is None or wiring.verdict == "pass":
        return []
    if fails(wiring, segment):
        by_token = "calls of one token are right: --segment 1 gives a valid number; " if wiring.right_by_token else ""
        message = (
            f"the model fails the wiring check ({wiring.reason}), so no score is valid: it may depend on how the text "
            f"is cut; {by_token}repair the model, or give --declare if this is meant: rnneval check shows where"
        )
        return [Warning(code="wrong-wiring", message=message)]
    message = f"inconclusive: {wiring.reason}"
    if wiring.verdict == "fail":
        message = f"the model fails the wiring check ({wiring.reason}), in calls that this run does not make"
    return [Warning(code="wiring", message=f"{message}; see rnneval check")]
