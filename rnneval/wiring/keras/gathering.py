"""Gathering the facts about a model: its provenance by a probe, the tests of its behaviour, its frozen traces."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnneval.models.keras.layers import is_graph, predicts_once
from rnneval.models.keras.lm import RecurrentLM, eagerly
from rnneval.models.keras.wrap import wrap
from rnneval.records.wiring import Oracle, Wiring
from rnneval.wiring.behaviour import KEYS, run_behaviour
from rnneval.wiring.facts import (
    Arrival,
    Declarations,
    Event,
    Facts,
    Source,
    Variant,
    parse_declarations,
    require_known,
)
from rnneval.wiring.judging import wiring_of
from rnneval.wiring.keras.locating import locate
from rnneval.wiring.keras.names import fact_of
from rnneval.wiring.keras.probe import TOKENS, Recording, Returned, hook_fires, run_stubbed
from rnneval.wiring.keras.provenance import by_intervention, origins_of
from rnneval.wiring.keras.subject import Ready, make_ready
from rnneval.wiring.keras.traces import compare_calls, compare_traces
from rnneval.wiring.places import by_place

_DRAWS = 3
_WINDOW = (
    "a window model: it predicts from the last tokens alone, each time from the start, so there is no state to carry"
)


def check_layers(model: Any, *, declare: Iterable[str] = (), vocab_size: int | None = None, seed: int = 0) -> Wiring:
    """Check a Keras model or another object that holds Keras layers; see `rnneval.check`."""
    declared = parse_declarations(declare)
    lm = model if isinstance(model, RecurrentLM) else None
    inner = model if lm is None else lm.model  # what its author wired
    if is_graph(inner) and predicts_once(inner):
        return wiring_of(Facts(declared=declared, failure=_WINDOW))
    trace = compare_traces(inner)
    with eagerly():
        try:
            ready = make_ready(inner, vocab_size)
        except ValueError as error:
            failure = f"the model cannot be called: {error}"
            return wiring_of(Facts(declared=declared, trace=trace, failure=failure))
        try:
            facts = provenance(ready, declared, seed)
            variants = tuple(_variants(ready, declared, seed)) if not facts.failure else ()
            if lm is not None and lm.vocabulary is not None:
                ready.newline = lm.vocabulary.id_of("\n")
            with ready.in_float32() as is_copy:
                found = _oracles(ready, facts, None if is_copy else lm, seed)
                spots = locate(ready, found, seed) if hook_fires() else {}
            trace = compare_calls(ready, seed, trace) if hook_fires() else trace
        finally:
            ready.snapshot.restore()
    facts = replace(facts, oracles=found, spots=spots, variants=variants, trace=trace)
    if facts.units:
        require_known(declared, by_place(facts).units)
    return wiring_of(facts)


def _variants(ready: Ready, declared: Declarations, seed: int) -> Iterator[Variant]:
    """Yield the wiring of one row alone, and that of training, drawn three times because of its random noise."""
    if ready.takes_one_row:
        alone = replace(ready, batch=1)
        yield Variant(when="for a batch of one row", runs=(provenance(alone, declared, seed),))
    if ready.trains:
        draws = (provenance(ready.in_training, declared, seed + draw, seeds=draw == 0) for draw in range(_DRAWS))
        yield Variant(when="with training=True", runs=tuple(draws))


def provenance(
    ready: Ready, declared: Declarations, seed: int, *, listen: bool | None = None, seeds: bool = True
) -> Facts:
    """Return where states went over a few calls; without `seeds`, Keras' random generators are not reset."""
    listen = hook_fires() if listen is None else listen
    recording = run_stubbed(ready, seed, listen=listen, seeds=seeds)
    seen = origins_of(recording, by_tape=listen)
    arrivals = _completed(ready, seed, recording, seen.arrivals, listen=listen)
    first = {id(run.unit): run for run in reversed(recording.runs)}
    indices = {key: index for index, key in enumerate(dict.fromkeys(id(run.unit) for run in recording.runs))}
    events = [
        Event(
            unit=indices[id(run.unit)],
            call=run.call,
            steps=run.steps,
            file=run.line.file,
            line=run.line.line,
            code=run.line.code,
            descends=descends,
            reads=reads,
        )
        for run, (descends, reads) in zip(recording.runs, seen.descents, strict=True)
    ]
    return Facts(
        units=tuple(fact_of(first[key].unit, ready.names, indices, len(first[key].states)) for key in indices),
        events=tuple(events),
        arrivals=arrivals,
        returned=seen.returned,
        takes_states=ready.call.takes_states,
        gives_states=any(item.leaves for item in recording.items if isinstance(item, Returned)),
        wired_by="rnneval" if ready.call.is_stateless_graph else "author",
        calls=recording.calls,
        tokens=ready.call.time or TOKENS,
        declared=declared,
        failure=recording.failure,
        provenance="tape" if listen else "values and intervention",
    )


def intervene(ready: Ready, seed: int, recording: Recording, wanted: Any) -> dict[tuple[int, int], frozenset[Source]]:
    """Find sources by altering one emitted state at a time; a RuntimeError says that the model draws random numbers.

    NumPy's and Python's random generators are put back afterwards (TensorFlow's cannot be read).
    """

    def rerun(altered: Source | None) -> Recording:
        keras.utils.set_random_seed(seed)
        return run_stubbed(ready, seed, listen=False, altered=altered)

    of_numpy, of_python = np.random.get_state(), random.getstate()  # noqa: NPY002 - the author's, not ours
    try:
        return by_intervention(recording, rerun, wanted)
    finally:
        np.random.set_state(of_numpy)  # noqa: NPY002
        random.setstate(of_python)


def _completed(
    ready: Ready, seed: int, recording: Recording, arrivals: tuple[Arrival, ...], *, listen: bool
) -> tuple[Arrival, ...]:
    """Find sources that the first way could not tell by intervention; their places are then not known."""
    wanted = [(a.event, a.slot) for a in arrivals if _is_open(a, recording, listen=listen)]
    if not wanted:
        return arrivals
    try:
        found = intervene(ready, seed, recording, wanted)
    except RuntimeError as error:
        why = str(error)
        return tuple(replace(a, unknown=a.unknown or why) if (a.event, a.slot) in wanted else a for a in arrivals)
    completed = []
    for arrival in arrivals:
        known = replace(arrival, unknown="")
        sources = found.get((arrival.event, arrival.slot))
        if sources:
            known = replace(known, sources=sources, transformed=True, in_place=True, missing=0.0)
        completed.append(known)
    return tuple(completed)


def _is_open(arrival: Arrival, recording: Recording, *, listen: bool) -> bool:
    """Return whether a state's origin is not known yet: it is opaque, or has numbers that no stub emitted."""
    if arrival.unknown:
        return True
    run = recording.runs[arrival.event]
    if arrival.sources or arrival.random or run.call == 0:
        return False
    values = np.asarray(run.states[arrival.slot])
    varied = values.size > 1 and not (values == values.flat[0]).all()
    return bool(varied and (not listen or arrival.born is not None))


def _oracles(ready: Ready, facts: Facts, lm: RecurrentLM | None, seed: int) -> dict[str, Oracle]:
    """Test the behaviour; in a stateless graph it is rnneval that carries states, so `chunk` and `used` test that."""
    subject = ready.subject(seed)
    if not ready.call.is_stateless_graph:
        return run_behaviour(subject)
    found = run_behaviour(subject, without=("chunk", "used"))
    if facts.units and all(unit.names & facts.declared.stateless for unit in facts.units):
        return found
    try:
        carrier = lm or wrap(ready.model)
    except Exception as error:
        reason = Oracle(verdict="inconclusive", tolerance=found["repeat"].tolerance, detail=str(error))
        found |= {"chunk": reason, "used": reason}
        return {key: found[key] for key in KEYS if key in found}

    def read(pieces: Any) -> list[Any]:
        state, logits = carrier.initial_state(int(pieces[0].shape[0])), []
        for ids in pieces:
            step = carrier.step(tf.constant(ids), state)
            state = step.state
            logits.append(np.asarray(tf.cast(step.logits, tf.float64)))
        return logits

    def read_moved(pieces: Any, draw: int) -> list[Any]:
        ready.move_weights(draw)
        try:
            return read(pieces)
        finally:
            ready.snapshot.restore()

    # The other tests do not depend on who carries the state.
    moved = None if subject.read_moved is None else read_moved
    carried = run_behaviour(
        replace(subject, read=read, read_moved=moved), without=set(KEYS) - {"chunk", "used", "repeat"}
    )
    found |= {"chunk": carried["chunk"], "used": carried["used"]}
    return {key: found[key] for key in KEYS if key in found}
