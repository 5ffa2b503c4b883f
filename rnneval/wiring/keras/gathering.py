"""Gathering the facts about a model: its provenance by a probe, the tests of its behaviour, its frozen traces."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from rnneval.models.keras.layers import is_graph, predicts_once
from rnneval.models.keras.lm import RecurrentLM, eagerly, wrap
from rnneval.models.keras.recognition import attention_without_state
from rnneval.models.keras.state_tap import compiled_loops
from rnneval.models.protocol import about_transformer
from rnneval.records.wiring import TestResult, Wiring
from rnneval.wiring.behaviour import TESTS, run_behaviour
from rnneval.wiring.evidence import by_place, evidence
from rnneval.wiring.facts import ONE_ROW, TRAINING, Declarations, Trace, WiringFacts, parse_declarations, require_known
from rnneval.wiring.judging import findings, wiring_of
from rnneval.wiring.keras.locating import locate
from rnneval.wiring.keras.probe import hook_fires, provenance
from rnneval.wiring.keras.subject import Ready, make_ready
from rnneval.wiring.keras.traces import compare_calls, compare_traces
from rnneval.wiring.subject import Outputs, Pieces

_DRAWS = 3
_WINDOW = (
    "a window model: it predicts from the last tokens alone, each time from the start, so there is no state to carry"
)


def check_layers(model: Any, *, declare: Iterable[str] = (), vocab_size: int | None = None, seed: int = 0) -> Wiring:
    """Check a Keras model or another object that holds Keras layers; see `rnneval.check`."""
    declared = parse_declarations(declare)
    lm = model if isinstance(model, RecurrentLM) else None
    inner = model if lm is None else lm.model  # what its author wired

    def unseen(failure: str, trace: Trace = Trace()) -> Wiring:  # noqa: B008 - it is frozen
        return wiring_of(WiringFacts(declared=declared, failure=failure, trace=trace))

    if is_graph(inner) and predicts_once(inner):
        return unseen(_WINDOW)
    if (attention := attention_without_state(inner)) is not None:
        return unseen(about_transformer(type(inner).__name__, attention))
    trace = compare_traces(inner)
    with eagerly(), compiled_loops():
        try:
            ready = make_ready(inner, vocab_size)
        except ValueError as error:
            return unseen(f"the model cannot be called: {error}", trace)
        if lm is not None and lm.vocabulary is not None:
            ready.newline = lm.vocabulary.id_of("\n")
        try:
            facts = provenance(ready, declared, seed)
            if not facts.failure:
                require_known(declared, by_place(facts).units)
                facts = replace(facts, variants=_variants(ready, declared, seed))
            with ready.in_float32() as is_copy:
                results = _oracles(ready, facts, None if is_copy else lm, seed)
                spots = locate(ready, results, seed) if hook_fires() else {}
            trace = compare_calls(ready, seed, trace) if hook_fires() else trace
        finally:
            ready.snapshot.restore()
    return wiring_of(replace(facts, oracles=results, spots=spots, trace=trace))


def _variants(ready: Ready, declared: Declarations, seed: int) -> dict[str, tuple[WiringFacts, ...]]:
    """Return the wiring of one row alone, and that of training, whose errors must show in three draws of its noise."""
    runs: dict[str, tuple[WiringFacts, ...]] = {}
    if ready.takes_one_row:
        runs[ONE_ROW] = (provenance(replace(ready, batch=1), declared, seed),)
    if ready.trains:
        draws = [provenance(ready.in_training, declared, seed)]
        if any(finding.severity == "error" for finding in findings(evidence(draws[0]))):
            draws += [provenance(ready.in_training, declared, seed + k, seeds=False) for k in range(1, _DRAWS)]
        runs[TRAINING] = tuple(draws)
    return runs


def _oracles(ready: Ready, facts: WiringFacts, lm: RecurrentLM | None, seed: int) -> dict[str, TestResult]:
    """Test the behaviour; in a stateless graph it is rnneval that carries states, so `chunk` and `used` test that."""
    subject = ready.subject(seed)
    if not ready.call.is_stateless_graph:
        return run_behaviour(subject)
    results = run_behaviour(subject, without=("chunk", "used"))
    if facts.units and all(unit.names & facts.declared.stateless for unit in facts.units):
        return results
    carrier = None
    try:
        carrier = lm or wrap(ready.model)
        why = carrier.differs_by_cut
    except Exception as error:
        why = str(error)
    if carrier is None or why:
        reason = TestResult(verdict="inconclusive", tolerance=results["repeat"].tolerance, detail=why)
        results |= {"chunk": reason, "used": reason}
    else:
        moved = None if subject.read_moved is None else partial(_read_moved, ready, carrier)
        carried = replace(subject, read=partial(_read, carrier), read_moved=moved)
        # The other tests do not depend on who carries the state.
        tested = run_behaviour(carried, without=set(TESTS) - {"chunk", "used", "repeat"})
        results |= {"chunk": tested["chunk"], "used": tested["used"]}
    return {key: results[key] for key in TESTS if key in results}


def _read(carrier: RecurrentLM, pieces: Pieces) -> Outputs:
    """Read pieces, the states carried by rnneval."""
    state, logits = carrier.initial_state(len(pieces[0])), []
    for ids in pieces:
        step = carrier.step(tf.constant(ids), state)
        state = step.state
        logits.append(np.asarray(tf.cast(step.logits, tf.float64)))
    return logits


def _read_moved(ready: Ready, carrier: RecurrentLM, pieces: Pieces, draw: int) -> Outputs:
    ready.move_weights(draw)
    try:
        return _read(carrier, pieces)
    finally:
        ready.snapshot.restore()
