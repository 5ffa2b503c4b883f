"""Gathering the facts about a model: one probing, the oracles, the traces."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnneval.engine.wiring import reading
from rnneval.engine.wiring.locating import locate
from rnneval.engine.wiring.names import fact_of
from rnneval.engine.wiring.oracles import Subject, run_oracles
from rnneval.engine.wiring.private import hook_fires, is_traced_function, traced_signatures
from rnneval.engine.wiring.probe import Emissions, Recording, Returned, brief, record
from rnneval.engine.wiring.reading import Reading, events_of
from rnneval.engine.wiring.snapshot import Snapshot, numbers_in
from rnneval.engine.wiring.subject import Ready, make_ready
from rnneval.models.lm import eagerly
from rnneval.records.wiring import Oracle
from rnneval.wiring.facts import Arrival, Declarations, Facts, Source, Trace, UnitFact, Variant

CALLS, TOKENS = 4, 2
_DRAWS = 3


def gather(model: Any, declared: Declarations, *, vocab_size: int | None, seed: int, oracles: bool = True) -> Facts:
    """Run the model, and say in plain values what was seen."""
    trap = trap_of(model)
    trace = compare_traces(model, trap)
    with eagerly():
        try:
            ready = make_ready(model, vocab_size)
        except ValueError as error:
            return Facts(declared=declared, trace=trace, failure=f"the model cannot be called: {error}")
        try:
            facts = provenance(ready, declared, seed)
            variants = tuple(_variants(ready, declared, seed)) if not facts.failure else ()
            found = _oracles(ready, facts, seed) if oracles else {}
            spots = locate(ready, found, seed) if hook_fires() else {}
        finally:
            ready.snapshot.restore()
    return replace(facts, oracles=found, spots=spots, variants=variants, trace=trace)


def _variants(ready: Ready, declared: Declarations, seed: int) -> Iterator[Variant]:
    """The wiring of one row alone, and that of training, where noise may do anything once: so it is drawn thrice."""
    if ready.takes_one_row:
        alone = replace(ready, batch=1)
        yield Variant(when="for a batch of one row", runs=(provenance(alone, declared, seed),))
    if ready.trains:
        draws = (provenance(ready.in_training, declared, seed + draw, seeds=draw == 0) for draw in range(_DRAWS))
        yield Variant(when="with training=True", runs=tuple(draws))


def provenance(
    ready: Ready, declared: Declarations, seed: int, *, listen: bool | None = None, seeds: bool = True
) -> Facts:
    """What went where, over a few calls; without `seeds`, Keras' random generators go on from where they are."""
    listen = hook_fires() if listen is None else listen
    recording = run_stubbed(ready, seed, listen=listen, seeds=seeds)
    seen = reading.by_tape(recording) if listen else reading.by_values(recording)
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
    """One stubbed run from the model's own start."""
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
        return reading.by_intervention(recording, rerun, wanted)


def _completed(ready: Ready, seed: int, recording: Recording, seen: Reading, *, listen: bool) -> Reading:
    """Ask by intervention about what the first way could not tell."""
    open_ones = [(a.event, a.slot) for a in seen.arrivals if _is_open(a, recording, listen=listen)]
    if not open_ones:
        return seen
    try:
        found = intervene(ready, seed, recording, open_ones)
    except RuntimeError as error:
        return replace(seen, arrivals=tuple(_unknown(a, open_ones, str(error)) for a in seen.arrivals))
    arrivals = tuple(
        reading.with_sources(a, found[a.event, a.slot]) if found.get((a.event, a.slot)) else replace(a, unknown="")
        for a in seen.arrivals
    )
    return replace(seen, arrivals=arrivals)


def _is_open(arrival: Arrival, recording: Recording, *, listen: bool) -> bool:
    """Whether a state's origin is still in question: opaque, or numbers that nobody emitted."""
    if arrival.unknown:
        return True
    passage = recording.passages[arrival.event]
    if arrival.sources or arrival.random or passage.call == 0:
        return False
    values = np.asarray(passage.states[arrival.slot])
    varied = values.size > 1 and not (values == values.flat[0]).all()
    return bool(varied and (not listen or arrival.born is not None))


def _unknown(arrival: Arrival, open_ones: list[tuple[int, int]], why: str) -> Arrival:
    if (arrival.event, arrival.slot) not in open_ones:
        return arrival
    return replace(arrival, unknown=arrival.unknown or why)


def _units(ready: Ready, recording: Recording) -> tuple[tuple[UnitFact, ...], dict[int, int]]:
    """The units in the order in which they first ran."""
    indices: dict[int, int] = {}
    for passage in recording.passages:
        indices.setdefault(id(passage.unit), len(indices))
    first = {id(p.unit): p for p in reversed(recording.passages)}
    facts = tuple(fact_of(first[key].unit, ready.names, indices, len(first[key].states)) for key in indices)
    return facts, indices


def _oracles(ready: Ready, facts: Facts, seed: int) -> dict[str, Oracle]:
    subject = ready.subject(seed)
    found = run_oracles(subject)
    if ready.call.is_stateless_graph:
        return _without_a_door(ready, facts, subject, found)
    return found


def _without_a_door(ready: Ready, facts: Facts, subject: Subject, found: dict[str, Oracle]) -> dict[str, Oracle]:
    """A stateless graph: what is carried is carried by rnneval, so that is what chunk and used are asked of."""
    stateless = facts.declared.stateless
    if facts.units and all(unit.names & stateless for unit in facts.units):
        return {name: oracle for name, oracle in found.items() if name not in ("chunk", "used")}
    from rnneval.models.wrap import wrap

    try:
        lm = wrap(ready.model)
    except Exception as error:
        reason = Oracle(verdict="inconclusive", tolerance=subject.tolerance, detail=str(error))
        return found | {"chunk": reason, "used": reason}

    def run(pieces: Any) -> list[Any]:
        state, logits = lm.initial_state(int(pieces[0].shape[0])), []
        for ids in pieces:
            step = lm.step(tf.constant(ids), state)
            state = step.state
            logits.append(np.asarray(tf.cast(step.logits, tf.float64)))
        return logits

    carried = run_oracles(replace(subject, run=run))
    return found | {name: carried[name] for name in ("chunk", "used")}


class _own_randomness:  # noqa: N801 - reads as what it gives: with _own_randomness()
    """Leave NumPy's and Python's generators as they were (TensorFlow's cannot be read)."""

    def __enter__(self) -> None:
        import random

        self._numpy, self._python = np.random.get_state(), random.getstate()  # noqa: NPY002 - the author's, not ours

    def __exit__(self, *_: object) -> None:
        import random

        np.random.set_state(self._numpy)  # noqa: NPY002
        random.setstate(self._python)


def traced_call(model: Any) -> Any:
    """The model's `call` where it is a `tf.function`; else None."""
    call = getattr(model, "call", None)
    return call if is_traced_function(call) else None


def trap_of(model: Any) -> str:
    """What would freeze the weights of a model that is not built yet; empty where nothing would."""
    if traced_call(model) is None or getattr(model, "built", True):
        return ""
    return f"{type(model).__name__}.call"


def compare_traces(model: Any, trap: str) -> Trace:
    """Alter the weights, and compare each trace that the model came with to an eager run of the same inputs."""
    function = traced_call(model)
    signatures = traced_signatures(function) if function is not None else []
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
                uncompared = brief(error)
    finally:
        snapshot.restore()
    return Trace(difference=worst, uncompared=uncompared, trap=trap)


def _difference(function: Any, signature: Any) -> float:
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
