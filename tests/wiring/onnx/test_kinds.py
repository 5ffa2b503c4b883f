"""ONNX graphs with inputs, axes and types of many kinds: right ones pass, and wrong ones are named."""

import numpy as np
import pytest
from scipy.special import logsumexp

import rnneval
from rnneval.errors import CheckpointError
from rnneval.wiring.graphs import check, open_graph

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'rnneval[onnx]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'rnneval[onnx]'")

from tests.wiring.onnx import decays, zoo  # noqa: E402 - after the skips
from tests.wiring.onnx.test_graphs import EXCHANGED, VOCABULARY  # noqa: E402 - after the skips

TWO = {"inputs": ["slow", "fast"]}
FLAT = {"inputs": ["state"], "outputs": ["logits", "new_state"]}
KINDS = {
    "int64": {}, "int32": {"ids": onnx.TensorProto.INT32}, "uint8": {"ids": onnx.TensorProto.UINT8},
    "float ids": {"ids": onnx.TensorProto.FLOAT}, "one-hot": {"one_hot": True}, "one row": {"rows": 1},
    "float16": {"dtype": decays.HALF}, "float16 one-hot": {"dtype": decays.HALF, "one_hot": True},
    "one token": {"time": 1}, "five tokens": {"time": 5}, "one row and token": {"rows": 1, "time": 1},
    "tokens first": {"axes": "tr", **TWO}, "no rows": {"axes": "t", **TWO},
    "tokens first, fixed": {"axes": "tr", "rows": 1, "time": 5, **TWO},
    "last token": {"extra": "last"}, "last token, one row": {"extra": "last", "rows": 1},
    "last token of three axes": {"extra": "last alone"},
    "flat logits": {"extra": "flat"}, "flat logits, tokens first": {"extra": "flat", "axes": "tr", **TWO},
    "mask": {"extra": "mask"}, "labels": {"extra": "labels"}, "style": {"extra": "style"},
    "dots": {"inputs": ["cache.0", "cache.1"], "outputs": ["logits", "new_cache.0", "new_cache.1"]},
    "conv and ssm": {"inputs": ["conv_state", "ssm_state"], "outputs": ["y", "conv_state_out", "ssm_state_out"]},
    "keys and values": {
        "inputs": ["past_key_values.0.key", "past_key_values.0.value"],
        "outputs": ["logits", "present.0.key", "present.0.value"],
    },
    "begins and ends": {"inputs": ["h0", "c0", "n0"], "outputs": ["logits", "hn", "cn", "nn"]},
}  # fmt: skip


def opened(model, folder):
    return open_graph(zoo.saved(model, folder), vocabulary=VOCABULARY)


@pytest.mark.sampled(3)  # each kind by default, with one of the faults
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", ["", "crossed", "dropped"])
def test_right_states_pass_and_others_are_named(kind, fault, tmp_path):
    model = decays.graph(fault=fault, **KINDS[kind])
    wiring = check(opened(model, tmp_path))
    slow, fast = KINDS[kind].get("inputs", ["slow", "fast"])[:2]
    new_slow, new_fast = (output.name for output in model.graph.output[1:3])
    rules = {"": [], "crossed": ["crossed-state"], "dropped": ["ignored-state"]}[fault]
    assert [finding.rule for finding in wiring.findings] == rules, wiring.reason
    said = {
        "": "paired by names",
        "crossed": f"{slow} needs {new_fast} and gets {new_slow}; {fast} needs {new_slow} and gets {new_fast}",
        "dropped": f"{new_slow} gives {slow} back as it was",
    }[fault]
    assert said in (wiring.findings[0].message if fault else wiring.reason)


@pytest.mark.parametrize(
    "kind", ["float ids", "one-hot", "tokens first", "no rows", "style", "mask", "last token", "flat logits"]
)
def test_losses_of_every_kind_are_those_of_a_loop_by_hand(kind, tmp_path):
    drawn = np.random.default_rng(3).integers(0, zoo.V, 600)
    text = tmp_path / "text.txt"
    text.write_text("".join(VOCABULARY[each] for each in drawn))
    path = zoo.saved(decays.graph(**KINDS[kind]), tmp_path)
    record = rnneval.evaluate(rnneval.open(path, vocabulary=VOCABULARY), text)
    by_hand = decays.by_hand(drawn, steps=len(KINDS[kind].get("inputs", "hcn")) == 3)
    assert record.scores["cross_entropy"].value == pytest.approx(by_hand.mean(), abs=2e-6)


@pytest.mark.parametrize(
    ("options", "fault", "rule", "said"),
    [
        (FLAT, "crossed", "misplaced-state", "the slices of axis 0 of new_state are in another order than at state"),
        (FLAT | {"dtype": decays.HALF}, "crossed", "misplaced-state", "[1, 0] agrees"),
        (FLAT | {"rows": 1}, "crossed", "misplaced-state", "[1, 0] agrees"),
        ({}, "stuck", "ignored-state", "new_step gives step back as it was"),
        ({"dtype": decays.HALF}, "stuck", "ignored-state", "new_step gives step back as it was"),
        ({"rows": 1, "time": 1}, "stuck", "ignored-state", "new_step gives step back as it was"),
    ],
)
def test_flipped_and_stuck_states_are_named_and_right_ones_pass(options, fault, rule, said, tmp_path):
    assert check(opened(decays.graph(**options), tmp_path)).verdict == "pass"
    wiring = check(opened(decays.graph(fault=fault, **options), tmp_path))
    assert [finding.rule for finding in wiring.findings] == [rule]
    assert said in wiring.findings[0].message


def test_an_input_that_is_no_state_is_said_to_get_zeros(tmp_path):
    model = decays.graph(extra="style")
    assert "; style gets zeros in every call" in check(opened(model, tmp_path)).reason
    for name, output in zip("pqrs", model.graph.output, strict=True):  # no names: every order of pairs is possible
        for node in model.graph.node:
            node.output[:] = [name if each == output.name else each for each in node.output]
        output.name = name
    lm = rnneval.from_onnx(zoo.saved(model, tmp_path), vocabulary=VOCABULARY)
    assert {"slow gets q", "fast gets r"} <= {*lm.assumptions}
    assert "; style gets zeros in every call" in lm.assumptions[1]
    assert rnneval.check(lm).verdict == "pass"
    pairs = {"slow": "q", "fast": "r", "step": "s"}
    assert rnneval.check(rnneval.from_onnx(tmp_path / "model.onnx", pairs, vocabulary=VOCABULARY)).verdict == "pass"


def test_a_state_that_no_output_gives_is_named(tmp_path):
    model = decays.graph(**TWO)
    del model.graph.output[2]
    wiring = check(opened(model, tmp_path))
    assert [finding.rule for finding in wiring.findings] == ["ignored-state"]
    assert "fast gets nothing" in wiring.findings[0].message


def test_a_graph_without_inputs_for_its_states_is_stateless(tmp_path):
    model = decays.graph(**TWO, rows=1)
    starts = [onnx.numpy_helper.from_array(np.zeros((1, 6), np.float32), name) for name in TWO["inputs"]]
    del model.graph.input[1:]
    model.graph.initializer.extend(starts)
    wiring = check(opened(model, tmp_path))
    assert wiring.reason == "stateless: every call begins afresh; no input takes new_slow, new_fast"


def test_features_as_wide_as_the_vocabulary_are_no_logits(tmp_path):
    assert (
        opened(decays.graph(extra="features", units=zoo.V, outputs=["y", "a", "b", "c"]), tmp_path).graph.logits == "y"
    )


def test_the_state_of_a_decoder_is_not_taken_for_logits(tmp_path):
    run, weights = decays.Nodes(), {name: np.ones((1, 3 * zoo.UNITS, zoo.UNITS), np.float32) for name in "WR"}
    weights |= {"table": np.ones((zoo.V, zoo.UNITS)), "out": np.ones((zoo.UNITS, zoo.V)), "axis": np.array([0])}
    embedded = run("Gather", "table", "ids")
    run.append(onnx.helper.make_node("GRU", [embedded, "W", "R", "", "", "h"], ["", "new"], hidden_size=zoo.UNITS))
    values = ["new", run("MatMul", run("Squeeze", "new", "axis"), "out")]
    state = [onnx.TensorProto.FLOAT, [1, 1, zoo.UNITS]]
    ports = [["ids", onnx.TensorProto.INT64, [1, 1]], ["h", *state]]
    outputs = [["hidden", *state], ["output", onnx.TensorProto.FLOAT, [1, zoo.V]]]
    graph = opened(decays.model_of(run, ports, outputs, values, weights), tmp_path).graph
    assert (graph.logits, graph.width, graph.outputs) == ("output", zoo.V, ["hidden"])


@pytest.mark.parametrize(("fault", "verdict"), [("", "inconclusive"), ("dropped", "fail")])
def test_a_graph_of_one_token_whose_ids_have_no_time_needs_a_text(fault, verdict, tmp_path):
    assert check(opened(decays.graph(axes="r", fault=fault), tmp_path)).verdict == verdict


@pytest.mark.parametrize(("fault", "verdict"), [("", "pass"), ("crossed", "fail"), ("dropped", "fail")])
def test_states_begin_with_the_defaults_that_the_file_has(fault, verdict, tmp_path):
    model = decays.graph(**TWO, rows=1, fault=fault)
    starts = np.random.default_rng(1).normal(size=(2, 1, 6)).astype(np.float32)
    model.graph.initializer.extend(map(onnx.numpy_helper.from_array, starts, TWO["inputs"]))
    lm = rnneval.from_onnx(zoo.saved(model, tmp_path), vocabulary=VOCABULARY)
    assert rnneval.check(lm).verdict == verdict
    assert {"slow begins with its default in the file", "fast begins with its default in the file"} <= {*lm.assumptions}
    text = "".join(np.random.default_rng(0).choice([*VOCABULARY], 300))
    ids = np.array([[[*VOCABULARY].index(letter) for letter in text]])
    if not fault:  # onnxruntime takes the defaults itself where it is given ids alone
        session = onnxruntime.InferenceSession(model.SerializeToString())
        scores = session.run(["logits"], {"ids": ids[:, :-1]})[0][0].astype(np.float64)
        losses = logsumexp(scores, axis=1) - scores[np.arange(len(scores)), ids[0, 1:]]
        record = rnneval.evaluate(lm, string=text, check=False)
        assert record.scores["cross_entropy"].value == pytest.approx(losses.mean(), abs=2e-6)


@pytest.mark.parametrize("default", [True, False])
def test_a_temperature_is_no_state_and_needs_a_default(default, tmp_path):
    model = decays.graph(**TWO)
    for node in model.graph.node:
        node.output[:] = ["cold" if name == "logits" else name for name in node.output]
    model.graph.node.append(onnx.helper.make_node("Mul", ["cold", "temperature"], ["logits"]))
    model.graph.input.append(onnx.helper.make_tensor_value_info("temperature", onnx.TensorProto.FLOAT, [1]))
    if default:
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(1, np.float32), "temperature"))
        assert check(opened(model, tmp_path)).verdict == "pass"
        return
    with pytest.raises(CheckpointError, match=r"temperature .*takes one number, which no output gives"):
        opened(model, tmp_path)


@pytest.mark.parametrize(("outputs", "rules"), [(zoo.outputs_of(), []), (EXCHANGED, ["crossed-state"])])
def test_pairs_are_judged_above_the_scales_of_dynamic_int8(outputs, rules, tmp_path):
    quantization = pytest.importorskip("onnxruntime.quantization")
    quantization.quantize_dynamic(zoo.saved(zoo.lstm(outputs=outputs), tmp_path), tmp_path / "int8.onnx")
    graph = open_graph(tmp_path / "int8.onnx", vocabulary=VOCABULARY)
    declared = check(graph, declare=["scaled=call"]).findings
    assert [finding.rule for finding in declared if finding.severity == "error"] == rules
    undeclared = check(graph).findings[0]
    assert "declare scaled=call if that is meant" in undeclared.message
    assert undeclared.file is None  # a graph has no line
