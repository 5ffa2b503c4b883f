"""ONNX graphs: which state goes where, read safely, with the losses of a loop by hand."""

import json
import pickle
import subprocess
import sys
from itertools import permutations

import numpy as np
import pytest

import rnneval
from rnneval.cli.main import run
from rnneval.errors import CheckpointError, UsageError

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'rnneval[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'rnneval[onnx]'")

from rnneval.wiring.pairing import search  # noqa: E402 - after the skips
from tests.wiring.onnx import zoo  # noqa: E402 - after the skips

VOCABULARY = [chr(97 + each) for each in range(zoo.V)]
EXCHANGED = ["c0_out", "h0_out", "h1_out", "c1_out"]


def checked(model, folder, *, state_pairs=None, text=None):
    path = zoo.saved(model, folder)
    return rnneval.check(rnneval.from_onnx(path, state_pairs, vocabulary=VOCABULARY), text=text)


@pytest.mark.parametrize("make", [zoo.lstm, zoo.gru_of_layers], ids=["lstm", "gru"])
def test_right_graphs_pass(make, tmp_path):
    wiring = checked(make(), tmp_path)
    assert (wiring.verdict, wiring.findings) == ("pass", ())
    assert "paired by names, confirmed by behaviour" in wiring.reason


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (EXCHANGED, "h0_in needs c0_out and gets h0_out; c0_in needs h0_out and gets c0_out"),
        (["h1_out", "c0_out", "h0_out", "c1_out"], "h0_in needs h1_out and gets h0_out; h1_in needs h0_out"),
        (["h1_out", "c1_out", "h0_out", "c0_out"], "c0_in needs c1_out and gets c0_out"),
        (["c0_out", "h1_out", "c1_out", "h0_out"], "h0_in needs c0_out and gets h0_out"),
    ],
    ids=["h and c", "layers", "both", "circle"],
)
def test_crossed_states_are_named(outputs, said, tmp_path):
    wiring = checked(zoo.lstm(outputs=outputs), tmp_path)
    assert wiring.verdict == "fail"
    assert [finding.rule for finding in wiring.findings] == ["crossed-state"]
    assert said in wiring.findings[0].message


@pytest.mark.parametrize(
    ("model", "rule", "said"),
    [
        (zoo.lstm(fault="zeros"), "ignored-state", "h0_out, which h0_in gets, is all zeros"),
        (zoo.lstm(fault="same"), "ignored-state", "h0_out gives h0_in back as it was"),
        (zoo.lstm(fault="constant"), "ignored-state", "h0_out, which h0_in gets, does not follow the text"),
        (zoo.gru_of_layers(flipped=True), "misplaced-state", "the slices of axis 0 of stateN are in another order"),
    ],
    ids=["zeros", "not fed back", "constant", "flipped layers"],
)
def test_lost_and_flipped_states_are_named(model, rule, said, tmp_path):
    wiring = checked(model, tmp_path)
    assert (wiring.verdict, [finding.rule for finding in wiring.findings]) == ("fail", [rule])
    assert said in wiring.findings[0].message


@pytest.mark.parametrize(
    "options", [{}, {"one_hot": True}, {"dtype": onnx.TensorProto.FLOAT16}], ids=["ids", "one-hot", "float16"]
)
@pytest.mark.parametrize(
    ("fault", "rule", "said"),
    [
        ("", "", ""),
        ("crossed", "crossed-state", "past_k needs present_v and gets present_k"),
        ("stuck", "ignored-state", "new_count gives count back as it was"),
        ("first", "ignored-state", "present_k, which past_k gets, does not follow the text"),
    ],
    ids=["right", "crossed", "stuck", "first"],
)
def test_caches_that_grow_and_counters_are_states(fault, rule, said, options, tmp_path):
    wiring = checked(zoo.attention(fault=fault, **options), tmp_path)
    assert wiring.verdict == ("fail" if fault else "pass"), wiring.reason
    assert [finding.rule for finding in wiring.findings] == [rule] * bool(fault)
    assert said in " ".join(finding.message for finding in wiring.findings)


@pytest.mark.parametrize("order", [*permutations(range(4))][::5])
def test_pairs_without_names_are_found(order, tmp_path):
    names, right = ["a", "b", "c", "d"], [f"{each}9" for each in "uvwx"]
    model = zoo.lstm(names=names, outputs=right)
    declared = [model.graph.output[1 + each] for each in order]
    shuffled = [model.graph.output[0], *(onnx.ValueInfoProto.FromString(each.SerializeToString()) for each in declared)]
    del model.graph.output[:]
    model.graph.output.extend(shuffled)
    path = zoo.saved(model, tmp_path)
    lm = rnneval.open(path, vocabulary=VOCABULARY)
    assert {f"{into} gets {output}" for into, output in zip(names, right, strict=True)} <= {*lm.assumptions}
    assert ("found by behaviour, other than by order" in " ".join(lm.assumptions)) == (order != (0, 1, 2, 3))
    assert rnneval.check(lm).verdict == "pass"


def test_pairs_given_wrong_fail_and_unfit_ones_are_refused(tmp_path):
    wrong = "h0_in=c0_out,c0_in=h0_out,h1_in=h1_out,c1_in=c1_out"
    wiring = checked(zoo.lstm(), tmp_path, state_pairs=[wrong])
    assert wiring.verdict == "fail"
    assert "h0_in needs h0_out and gets c0_out" in wiring.findings[0].message
    assert "--state-pairs" in wiring.findings[0].message
    for pairs, said in ({"h9": "c0_out"}, "h9 is no input"), ({"h0_in": "c0_out"}, "no output for c0_in, h1_in, c1_in"):
        with pytest.raises(UsageError, match=said):
            rnneval.from_onnx(tmp_path / "model.onnx", pairs, vocabulary=VOCABULARY)


def test_settings_beside_the_file_come_before_names(tmp_path):
    inputs = {"input_ids": "ids", "past_key_names": "h%d_in", "past_value_names": "c%d_in"}
    outputs = {"logits": "logits", "present_key_names": "c%d_out", "present_value_names": "h%d_out"}
    settings = {"model": {"decoder": {"inputs": inputs, "outputs": outputs, "num_hidden_layers": 2}}}
    (tmp_path / "genai_config.json").write_text(json.dumps(settings))
    wiring = checked(zoo.lstm(), tmp_path)
    assert wiring.verdict == "fail"
    assert "h0_in needs h0_out and gets c0_out" in wiring.findings[0].message
    assert "pairs by genai_config.json" in wiring.findings[0].message


@pytest.mark.parametrize("ids", [onnx.TensorProto.INT32, onnx.TensorProto.FLOAT], ids=["int32", "float"])
def test_losses_are_those_of_a_loop_by_hand(ids, tmp_path):
    model = zoo.lstm(ids=ids, surplus=True)
    drawn = np.random.default_rng(3).integers(0, zoo.V, 3000)
    text = tmp_path / "text.txt"
    text.write_text("".join(VOCABULARY[each] for each in drawn))
    lm = rnneval.open(zoo.saved(model, tmp_path), vocabulary=VOCABULARY)
    record = rnneval.evaluate(lm, text)
    expected = zoo.by_hand(model, drawn)[1]
    assert record.scores["cross_entropy"].value == pytest.approx(expected.mean(), abs=1e-7)
    assert record.wiring.verdict == "pass"


@pytest.mark.parametrize("time", [1, 5])
def test_a_fixed_number_of_tokens_is_loosened(time, tmp_path):
    path = zoo.saved(zoo.lstm(time=time), tmp_path)
    lm = rnneval.from_onnx(path, vocabulary=VOCABULARY)
    assert any("the graph computes with any" in said for said in lm.assumptions)
    assert rnneval.check(lm).verdict == "pass"


def test_a_graph_of_one_token_is_judged_by_loss(tmp_path):
    path = zoo.saved(zoo.gru_of_layers(one_token=True), tmp_path)
    lm = rnneval.from_onnx(path, vocabulary=VOCABULARY)
    wiring = rnneval.check(lm)
    assert wiring.verdict == "inconclusive"
    assert "give --text with more than 4,000 tokens" in wiring.reason


@pytest.fixture(scope="module")
def written():
    """What a model draws from its own predictions: no pairs predict it better than those by which it was drawn."""
    return "".join(VOCABULARY[each] for each in zoo.by_hand(zoo.lstm(seed=2), length=16_000)[0])


@pytest.mark.parametrize(("outputs", "verdict"), [((), "pass"), (EXCHANGED, "fail")], ids=["right", "crossed"])
def test_the_loss_on_a_text_that_the_model_wrote_judges_pairs(outputs, verdict, written, tmp_path):
    model = zoo.lstm(outputs=outputs, time=1, one_token=True, seed=2)
    text = tmp_path / "text.txt"
    text.write_text(written)
    wiring = checked(model, tmp_path, text=text)
    assert wiring.verdict == verdict, wiring.reason
    said = "confirmed by loss" if verdict == "pass" else "h0_in needs c0_out and gets h0_out; c0_in needs h0_out"
    assert said in (wiring.reason if verdict == "pass" else wiring.findings[0].message)


def test_a_graph_without_states_is_stateless(tmp_path):
    model = zoo.lstm()
    kept = [model.graph.input[0], model.graph.output[0]]
    weights = [onnx.numpy_helper.from_array(np.zeros((1, 1, zoo.UNITS), np.float32), name) for name in zoo.NAMES]
    del model.graph.input[1:], model.graph.output[1:]
    model.graph.initializer.extend(weights)
    for value in kept:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    lm = rnneval.from_onnx(zoo.saved(model, tmp_path), vocabulary=VOCABULARY)
    wiring = rnneval.check(lm)
    assert (wiring.verdict, wiring.reason) == ("inconclusive", "stateless: every call begins afresh")
    (tmp_path / "text.txt").write_text("abcdefgh" * 50)
    with pytest.raises(CheckpointError, match="stateless"):
        rnneval.evaluate(lm, tmp_path / "text.txt")


@pytest.mark.parametrize("count", [2, 3, 4])
def test_search_finds_what_brute_force_finds(count):
    names, outputs = [f"i{each}" for each in range(count)], [f"o{each}" for each in range(count + 1)]
    for seed in range(20):
        draws = np.random.default_rng([count, seed])
        right = dict(zip(names, draws.permutation(outputs)[:count].tolist(), strict=True))
        far = {pairs: draws.uniform(1, 2) for pairs in permutations(outputs, count)}
        distances = far | {tuple(right.values()): 0.0}  # nothing leads there but the search over all
        start = dict(zip(names, outputs, strict=False))
        every = [dict(zip(names, pairs, strict=True)) for pairs in permutations(outputs, count)]
        best = min(every, key=lambda pairs: distances[(*pairs.values(),)])
        found = search(start, outputs, lambda *_: True, lambda pairs, table=distances: table[(*pairs.values(),)], 0.5)
        assert found == best == right


# Files that are refused


def hostile(kind, folder):
    model = zoo.lstm()
    if kind == "custom":
        model.graph.node[0].domain = "evil"
    elif kind == "large":
        model.graph.initializer[0].dims[0] = 1 << 29
    elif kind in {"rows", "state"}:
        model.graph.input[kind == "state"].type.tensor_type.shape.dim[0].dim_value = 1 << 30
    elif kind == "cycle":
        model.graph.node[0].input[1] = "logits"
    elif kind in {"outside", "absent", "short"}:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        place = {"outside": "../secret.bin", "absent": "absent.bin", "short": "short.bin"}[kind]
        (folder / "short.bin").write_bytes(b"1234")
        tensor.external_data.add(key="location", value=place)
        tensor.external_data.add(key="length", value="192")
    raw = model.SerializeToString()
    return {
        "truncated": raw[: len(raw) // 2], "pickle": pickle.dumps({"a": 1}), "text": b"hello, this is text",
        "empty": b"",
    }.get(kind, raw)  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("custom", "custom operator evil::Gather"), ("large", "declares the shape"),
        ("rows", "ids declares the shape"), ("state", "h0_in declares the shape"), ("cycle", "onnxruntime refuses it"),
        ("outside", "outside of its folder"), ("absent", "cannot be read"), ("short", "are not whole"),
        ("truncated", "no whole ONNX file"), ("pickle", "refused by rule pickle"), ("text", "no whole ONNX file"),
        ("empty", "no whole ONNX file"),
    ],
)  # fmt: skip
def test_hostile_files_cost_one_line(kind, said, tmp_path, capsys):
    path = tmp_path / "model.onnx"
    path.write_bytes(hostile(kind, tmp_path))
    for command in ("check", "open"):
        assert run([command, str(path)]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert said in lines[0]


def test_a_folder_named_like_a_graph_costs_one_line(tmp_path, capsys):
    (tmp_path / "d.onnx").mkdir()
    assert run(["check", str(tmp_path / "d.onnx")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "d.onnx: a folder without a checkpoint (it holds nothing)" in line
    assert "a .keras, .h5 or .onnx file" in line


def test_external_data_beside_the_file_are_read_and_listed(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save_model(zoo.lstm(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    lm = rnneval.from_onnx(path, vocabulary=VOCABULARY)
    assert "its weights are in weights.bin beside it" in lm.assumptions
    assert rnneval.check(lm).verdict == "pass"


def test_a_crash_at_loading_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("rnneval.checkpoints.graphs._CHILD", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(CheckpointError, match=r"onnxruntime ends at loading \(signal 11\)"):
        rnneval.from_onnx(zoo.saved(zoo.lstm(), tmp_path), vocabulary=VOCABULARY)


def test_commands_show_the_pairs_without_other_frameworks(tmp_path):
    zoo.saved(zoo.lstm(), tmp_path)
    (tmp_path / "vocab.json").write_text(json.dumps(VOCABULARY))
    (tmp_path / "text.txt").write_text("abcdefghijkl" * 40)
    code = (
        "import sys; from rnneval.cli.main import run\n"
        "codes = [run(['open', 'model.onnx']), run(['trace', 'model.onnx', 'text.txt', '--out', 'trace.parquet'])]\n"
        "sys.exit(any(codes) or bool({'torch', 'tensorflow', 'keras'} & {*sys.modules}))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "h0_in gets h0_out" in ended.stdout
    assert "paired by names: confirmed by behaviour" in " ".join(ended.stdout.split())
