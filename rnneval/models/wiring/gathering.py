"""Gathering the facts about a model: its provenance by a probe, the tests of its behaviour, its frozen traces."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnneval.errors import type_and_message
from rnneval.models.lm import RecurrentLM, eagerly
from rnneval.models.wiring.locating import locate
from rnneval.models.wiring.names import fact_of
from rnneval.models.wiring.oracles import KEYS, Subject, run_oracles
from rnneval.models.wiring.private import hook_fires, is_traced_function, traced_signatures
from rnneval.models.wiring.probe import Emissions, Recording, Returned, record
from rnneval.models.wiring.provenance import Origins, by_intervention, by_tape, by_values, events_of, with_sources
from rnneval.models.wiring.snapshot import Snapshot, numbers_in
from rnneval.models.wiring.subject import Ready, make_ready
from rnneval.models.wrap import wrap
from rnneval.records.wiring import Oracle
from rnneval.wiring.facts import Arrival, Declarations, Facts, Source, Trace, UnitFact, Variant

CALLS, TOKENS = 4, 2
_DRAWS = 3


def gather(
    model: Any, declared: Declarations, *, vocab_size: int | None, seed: int, lm: RecurrentLM | None = None
) -> Facts:
    """Run the model, and return the facts as plain values; `lm` is the model with its state carried, if known."""
    trace = compare_traces(model)
    with eagerly():
        try:
            ready = make_ready(model, vocab_size)
        except ValueError as error:
            return Facts(declared=declared, trace=trace, failure=f"the model cannot be called: {error}")
        try:
            facts = provenance(ready, declared, seed)
            variants = tuple(_variants(ready, declared, seed)) if not facts.failure else ()
            found = _oracles(ready, facts, lm, seed)
            spots = locate(ready, found, seed) if hook_fires() else {}
        finally:
            ready.snapshot.restore()
    return replace(facts, oracles=found, spots=spots, variants=variants, trace=trace)


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
    seen = by_tape(recording) if listen else by_values(recording)
    seen = _completed(ready, seed, recording, seen, listen=listen)
    units, indices = _units(ready, recording)
    return Facts(
        units=units,
        events=events_of(recording, seen, indices),
        arrivals=seen.arrivals,
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


def run_stubbed(
    ready: Ready, seed: int, *, listen: bool, altered: Source | None = None, seeds: bool = True
) -> Recording:
    """Record one stubbed run from the model's own start."""
    ready.snapshot.restore(seeds=seeds)
    generator = np.random.default_rng(seed)
    time = ready.call.time or TOKENS
    ids = [generator.integers(ready.low, ready.high, (ready.batch, time), dtype=np.int32) for _ in range(CALLS)]
    return record(
        ready.call,
        [ready.segment(part) for part in ids],
        names=ready.text_names,
        cells=ready.cells,
        emissions=Emissions(seed=seed, altered=altered),
        listen=listen,
    )


def intervene(ready: Ready, seed: int, recording: Recording, wanted: Any) -> dict[tuple[int, int], frozenset[Source]]:
    """Find sources by altering one emitted state at a time.

    Raises:
        RuntimeError: the model draws random numbers.
    """

    def rerun(altered: Source | None) -> Recording:
        keras.utils.set_random_seed(seed)
        return run_stubbed(ready, seed, listen=False, altered=altered)

    with _own_randomness():
        return by_intervention(recording, rerun, wanted)


def _completed(ready: Ready, seed: int, recording: Recording, seen: Origins, *, listen: bool) -> Origins:
    """Find sources that the first way could not tell by intervention."""
    open_ones = [(a.event, a.slot) for a in seen.arrivals if _is_open(a, recording, listen=listen)]
    if not open_ones:
        return seen
    try:
        found = intervene(ready, seed, recording, open_ones)
    except RuntimeError as error:
        why = str(error)
        unknown = tuple(
            replace(a, unknown=a.unknown or why) if (a.event, a.slot) in open_ones else a for a in seen.arrivals
        )
        return replace(seen, arrivals=unknown)
    arrivals = tuple(
        with_sources(a, found[a.event, a.slot]) if found.get((a.event, a.slot)) else replace(a, unknown="")
        for a in seen.arrivals
    )
    return replace(seen, arrivals=arrivals)


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


def _units(ready: Ready, recording: Recording) -> tuple[tuple[UnitFact, ...], dict[int, int]]:
    """Return the units in the order in which they first ran."""
    indices: dict[int, int] = {}
    for run in recording.runs:
        indices.setdefault(id(run.unit), len(indices))
    first = {id(p.unit): p for p in reversed(recording.runs)}
    facts = tuple(fact_of(first[key].unit, ready.names, indices, len(first[key].states)) for key in indices)
    return facts, indices


def _oracles(ready: Ready, facts: Facts, lm: RecurrentLM | None, seed: int) -> dict[str, Oracle]:
    """Test the behaviour; in a stateless graph it is rnneval that carries states, so `chunk` and `used` test that."""
    subject = ready.subject(seed)
    if not ready.call.is_stateless_graph:
        return run_oracles(subject)
    found = run_oracles(subject, without=("chunk", "used"))
    stateless = facts.declared.stateless
    if facts.units and all(unit.names & stateless for unit in facts.units):
        return found
    found |= _carried(ready, subject, lm)
    return {key: found[key] for key in KEYS if key in found}


def _carried(ready: Ready, subject: Subject, lm: RecurrentLM | None) -> dict[str, Oracle]:
    """Test `chunk` and `used` with the states carried by rnneval."""
    try:
        carrier = lm or wrap(ready.model)
    except Exception as error:
        reason = Oracle(verdict="inconclusive", tolerance=subject.tolerance, detail=str(error))
        return {"chunk": reason, "used": reason}

    def run(pieces: Any) -> list[Any]:
        state, logits = carrier.initial_state(int(pieces[0].shape[0])), []
        for ids in pieces:
            step = carrier.step(tf.constant(ids), state)
            state = step.state
            logits.append(np.asarray(tf.cast(step.logits, tf.float64)))
        return logits

    # The other tests do not depend on who carries the state.
    kept = replace(subject, run=run, single=False, run_after=None, run_training=None, why_not_training="")
    carried = run_oracles(kept, without=("causal", "batch"))
    return {key: carried[key] for key in ("chunk", "used")}


@contextmanager
def _own_randomness() -> Iterator[None]:
    """Put NumPy's and Python's generators back after the block (TensorFlow's cannot be read)."""
    of_numpy, of_python = np.random.get_state(), random.getstate()  # noqa: NPY002 - the author's, not ours
    try:
        yield
    finally:
        np.random.set_state(of_numpy)  # noqa: NPY002
        random.setstate(of_python)


def compare_traces(model: Any) -> Trace:
    """Return whether a `tf.function` on `call` keeps weights that the model no longer has.

    The weights are altered, and each trace that the model came with is compared to an eager run of the same inputs.
    Where the model is not built yet, its `call` is a trap: it would freeze the weights.
    """
    function = getattr(model, "call", None)
    traced = is_traced_function(function)
    trap = f"{type(model).__name__}.call" if traced and not getattr(model, "built", True) else ""
    signatures = traced_signatures(function) if traced else []
    if not signatures:
        return Trace(trap=trap)
    snapshot = Snapshot(model)
    worst, uncompared = 0.0, ""
    try:
        for variable in snapshot.variables:
            values = numbers_in(variable)
            if np.issubdtype(values.dtype, np.floating):
                variable.assign(values * 1.5 + 0.01)
        for signature in signatures:
            try:
                worst = max(worst, _difference(function, signature))
            except Exception as error:  # the author's code may raise anything
                uncompared = type_and_message(error)
    finally:
        snapshot.restore()
    return Trace(difference=worst, uncompared=uncompared, trap=trap)


def _difference(function: Any, signature: Any) -> float:
    """Return max |Δ| / max |value| between a traced function and the same function run eagerly."""
    positional, named = tf.nest.map_structure(_filled, signature)
    results = []
    before = tf.config.functions_run_eagerly()
    for eager in (False, True):
        tf.config.run_functions_eagerly(eager)
        try:
            results.append(tf.nest.flatten(function(*positional, **named))[0])
        finally:
            tf.config.run_functions_eagerly(before)
    traced, fresh = (np.asarray(result).astype(np.float64) for result in results)
    return float(np.abs(traced - fresh).max() / max(np.abs(fresh).max(), 1e-30))


def _filled(spec: Any) -> Any:
    if not isinstance(spec, tf.TensorSpec):
        return spec
    shape = [size or 2 for size in (spec.shape.as_list() if spec.shape.rank is not None else [2, 2])]
    return tf.ones(shape, spec.dtype)
