"""`from_onnx`: an ONNX graph as a language model, its states paired, and what its check says of the pairs."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from msgspec import structs

from rnneval.checkpoints.graphs import read_graph
from rnneval.errors import CheckpointError, UsageError, VocabularyError
from rnneval.models.onnx import OnnxGraph, PairedGraph, PairedStep, Pairing, filling, recognised
from rnneval.models.step import StepLM, from_step
from rnneval.records.wiring import Wiring
from rnneval.text import find_vocabulary, given_vocabulary
from rnneval.text.encoding import encode
from rnneval.wiring.by_construction import without_calls
from rnneval.wiring.evidence import Detection
from rnneval.wiring.facts import parse_declarations
from rnneval.wiring.judging import errors_first, finding_of, verdict_of
from rnneval.wiring.pairing import pairing_of
from rnneval.wiring.step import check as check_step

_FOLLOW = {"chunk-variance", "unused-state", "unused-part", "leftover-state"}
"""Faults of behaviour that follow from pairs that are wrong."""
_MOST_TOKENS = 1 << 16  # of a text by whose loss pairs are judged


def from_onnx(
    path: str | os.PathLike[str],
    state_pairs: Mapping[str, str] | Sequence[str] | None = None,
    *,
    vocabulary: object = None,
    expect_sha256: str | None = None,
) -> StepLM:
    """Make a language model of an ONNX graph; the states go from its outputs to its inputs.

    Args:
        path: An ONNX file, with its external data beside it. `genai_config.json` beside it may name the states.
        state_pairs: The output that each input of a state gets, a map or `input=output` strings; by default it is found
            by `genai_config.json`, names, shapes or order. The behaviour of the graph confirms the pairs, or refutes
            them: `rnneval.check` says so.
        vocabulary: A Vocabulary, the tokens in the order of their ids, a map from token to id, or a vocabulary file; by
            default the one beside the file.
        expect_sha256: Refuse a file with another SHA-256 hash.

    Raises:
        CheckpointError: the file is damaged, asks for what is not allowed, or is no graph from ids to logits.
        UsageError: onnxruntime is not installed, or the pairs do not fit the graph.
        VocabularyError: the vocabulary does not fit the model.
    """
    opened = open_graph(path, state_pairs, vocabulary=vocabulary, expect_sha256=expect_sha256)
    if opened.graph.only_some:
        seen = f"it reads exactly {opened.graph.tokens} tokens in every call, and computes with no other number"
        advice = "export it for one token a call, or with a dynamic axis of time"
        raise CheckpointError(f"{path}: {seen}: {advice} (rnneval check judges it as it is)")
    return _model(opened)


def open_graph(
    path: str | os.PathLike[str],
    state_pairs: Mapping[str, str] | Sequence[str] | None = None,
    *,
    vocabulary: object = None,
    expect_sha256: str | None = None,
) -> PairedGraph:
    """Read a graph and pair its states; the arguments are those of `from_onnx`."""
    place, known = Path(path), given_vocabulary(vocabulary)
    pairs = _pairs(state_pairs)
    file = read_graph(place)
    if expect_sha256 is not None and file.sha256 != expect_sha256.strip().lower():
        seen = f"its SHA-256 is {file.sha256}, not {expect_sha256}: another file, or a damaged one"
        raise CheckpointError(f"{path}: {seen}")
    graph = recognised(file, vocabulary=None if known is None else known.first_id + known.size, states=pairs)
    why = ""
    if known is None:
        try:
            known = find_vocabulary(place, graph.width)
        except VocabularyError as error:
            why = str(error)
    return PairedGraph(graph=graph, pairing=pairing_of(graph, pairs), vocabulary=known, why_no_vocabulary=why)


def _pairs(state_pairs: Mapping[str, str] | Sequence[str] | None) -> dict[str, str]:
    """Return pairs from `input=output` strings, or several of them with commas between."""
    if state_pairs is None or isinstance(state_pairs, Mapping):
        return dict(state_pairs or {})
    pairs: dict[str, str] = {}
    for each in ",".join([state_pairs] if isinstance(state_pairs, str) else state_pairs).split(","):
        into, equals, output = each.partition("=")
        if not (into and equals and output) or into in pairs or output in pairs.values():
            raise UsageError(f"--state-pairs {each}: give INPUT=OUTPUT, each name once")
        pairs[into] = output
    return pairs


def _model(opened: PairedGraph) -> StepLM:
    """Return a model that carries its states by a pairing."""
    graph, pairing, vocabulary = opened.graph, opened.pairing, opened.vocabulary
    one_row = graph.rows is not None
    step = PairedStep(graph=graph, pairs=pairing.pairs, opened=opened)
    try:
        lm = from_step(step, graph.start, vocab_size=graph.width, vocabulary=vocabulary, batched=not one_row)
    except CheckpointError as error:
        raise CheckpointError(f"{graph.file.path}: {error}") from error
    checkpoint = structs.replace(
        lm.checkpoint,
        path=str(graph.file.path),
        sha256=graph.file.sha256,
        format="onnx",
        contract=1 if graph.states else 4,
        parameters=graph.file.parameters,
        name=None,
    )
    return replace(
        lm,
        checkpoint=checkpoint,
        assumptions=(*_assumptions(graph, pairing), *lm.assumptions),
        why_no_vocabulary=opened.why_no_vocabulary,
        input_kind="one-hot" if len(graph.ids.sizes) == 3 else "ids",
        output_kind="probabilities" if graph.probabilities else "logits",
        differs_by_cut="" if graph.states else f"{graph.file.path}: {pairing.message}: no state can be carried",
    )


def _assumptions(graph: OnnxGraph, pairing: Pairing) -> tuple[str, ...]:
    """Return what was recognised, a sentence each."""
    said = [f"ids go into {graph.ids.name}, and the logits come from {graph.logits}"]
    if graph.states:
        said.append(f"{_count(pairing)}, paired by {pairing.how}: {pairing.message}")
        said += [f"{into} gets {output}" for into, output in pairing.pairs.items() if output]
    else:
        said.append(pairing.message)
    said += [f"{port.name} is filled with {filling(port, graph.ids)}" for port in graph.extras]
    defaults = [port for port in graph.states if port.default is not None and port.default.any()]
    said += [f"{port.name} begins with its default in the file" for port in defaults]
    if graph.loosened:
        said.append("the file fixes the number of tokens of a call; the graph computes with any, and is called so")
    if graph.tokens == 1:
        said.append("every call reads one token")
    if graph.rows is not None:
        said.append(f"the file fixes the number of rows ({graph.rows}): one text is read at a time, which is slower")
    if graph.file.external:
        said.append(f"its weights are in {', '.join(graph.file.external)} beside it")
    return tuple(said)


def _count(pairing: Pairing) -> str:
    count = sum(bool(output) for output in pairing.pairs.values())
    return f"{count} state{'s' * (count != 1)}"


def check(
    model: StepLM | PairedGraph,
    *,
    declare: Iterable[str] = (),
    seed: int = 0,
    text: str | os.PathLike[str] | None = None,
) -> Wiring:
    """Test the pairs of a graph's states, and its behaviour; a text judges a graph whose calls have a fixed length."""
    declare = tuple(declare)
    opened = model if isinstance(model, PairedGraph) else model.function.step.opened  # type: ignore[attr-defined]
    if opened.pairing.needs_text and text is not None:
        opened = _judged_by_text(opened, text)
    pairing = opened.pairing
    if opened.graph.only_some:
        parse_declarations(declare)
        wiring = without_calls("its calls have a fixed length, so nothing else is tested", declare)
    else:
        wiring = check_step(_model(opened), declare=declare, seed=seed)
    if not opened.graph.states:
        return structs.replace(wiring, findings=(), verdict="inconclusive", reason=pairing.message)
    findings = list(wiring.findings)
    if pairing.verdict == "fail":
        findings = [finding for finding in findings if finding.rule not in _FOLLOW]
        findings.append(finding_of(pairing.rule, Detection(sentence=pairing.message)))
    doubts = [pairing.message] if pairing.verdict == "inconclusive" else []
    if wiring.verdict == "inconclusive":
        doubts.append(wiring.reason)
    paired = f"{_count(pairing)} paired by {pairing.how}, {pairing.message}; "
    verdict, reason = verdict_of(findings, doubts, paired + wiring.reason)
    return structs.replace(wiring, findings=errors_first(findings), verdict=verdict, reason=reason)


def _judged_by_text(opened: PairedGraph, text: str | os.PathLike[str]) -> PairedGraph:
    """Judge the pairs by the loss on a text."""
    if opened.vocabulary is None:
        raise UsageError(f"--text {text}: it cannot be read without a vocabulary ({opened.why_no_vocabulary})")
    with encode([text], opened.vocabulary) as encoded:
        ids = np.array(encoded.ids(0, min(encoded.tokens, _MOST_TOKENS)))
    pairs = opened.pairing.pairs if opened.pairing.how == "--state-pairs" else None
    return replace(opened, pairing=pairing_of(opened.graph, pairs, ids))
