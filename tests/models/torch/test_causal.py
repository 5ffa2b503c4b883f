"""Cached models of transformers, and folders of `save_pretrained`: losses against one call, hostile folders refused."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import rnneval  # noqa: E402
from rnneval.cli.checkpoint import opened_by_any  # noqa: E402
from rnneval.cli.commands.check import _write_script  # noqa: E402
from rnneval.errors import CheckpointError, VocabularyError  # noqa: E402
from rnneval.options import OpenOptions  # noqa: E402

pytestmark = pytest.mark.torch

LETTERS = "abcdefgh \n"
TEXT = "".join(np.random.default_rng(0).choice(list(LETTERS), 300))
V = len(LETTERS)


def mamba2(width=V):
    return transformers.Mamba2ForCausalLM(
        transformers.Mamba2Config(
            vocab_size=width,
            hidden_size=16,
            num_heads=4,
            head_dim=8,
            num_hidden_layers=2,
            state_size=8,
            n_groups=1,
            chunk_size=8,
        )
    )


def bamba():
    """A hybrid: one layer of Mamba 2, and one of attention."""
    return transformers.BambaForCausalLM(
        transformers.BambaConfig(
            vocab_size=V, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
            intermediate_size=16, attn_layer_indices=[1], mamba_n_heads=4, mamba_d_head=8, mamba_n_groups=1,
            mamba_d_state=8, mamba_expand=2, mamba_chunk_size=8,
        )
    )  # fmt: skip


def rwkv():
    return transformers.RwkvForCausalLM(
        transformers.RwkvConfig(vocab_size=V, hidden_size=16, num_hidden_layers=2, attention_hidden_size=16)
    )


def lfm2():
    return transformers.Lfm2ForCausalLM(
        transformers.Lfm2Config(
            vocab_size=V, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
            intermediate_size=16, layer_types=["conv", "full_attention"],
        )
    )  # fmt: skip


def seeded(make):
    torch.manual_seed(0)
    return make().eval()


@pytest.mark.parametrize("make", [mamba2, bamba, rwkv, lfm2])
def test_losses_are_those_of_one_call(make):
    module = seeded(make)
    ids = torch.tensor([[LETTERS.index(letter) for letter in TEXT]])
    with torch.no_grad():
        logits = module(ids[:, :-1], use_cache=False).logits[0].double()
    expected = float(torch.nn.functional.cross_entropy(logits, ids[0, 1:]))
    lm = rnneval.from_transformers(module, rnneval.Vocabulary.from_tokens(list(LETTERS)))
    run = rnneval.evaluate(lm, string=TEXT, check=False)
    assert run.scores["cross_entropy"].value == pytest.approx(expected, abs=1e-6)
    assert lm.mixable == (make is mamba2)


def test_a_hybrid_reads_segments_from_the_initial_state_side_by_side(monkeypatch):
    module = seeded(bamba)
    ids = torch.tensor([LETTERS.index(letter) for letter in TEXT])
    with torch.no_grad():
        starts = range(0, len(ids) - 1, 10)
        logits = [module(ids[at : at + 10][None], use_cache=False).logits[0].double() for at in starts]
    expected = float(torch.nn.functional.cross_entropy(torch.cat(logits)[: len(ids) - 1], ids[1:]))
    lm = rnneval.from_transformers(module, rnneval.Vocabulary.from_tokens(list(LETTERS)))
    called = []
    step = type(lm.function.step).__call__
    monkeypatch.setattr(type(lm.function.step), "__call__", lambda *a: called.append(a[1].shape) or step(*a))
    run = rnneval.evaluate(lm, string=TEXT, check=False, state="reset", segment=10, streams=4)
    assert run.scores["cross_entropy"].value == pytest.approx(expected, abs=1e-6)
    assert called[0] == (4, 10)


def test_calls_are_as_long_as_the_chunk_of_the_model():
    lm = rnneval.from_transformers(seeded(mamba2), rnneval.Vocabulary.from_tokens(list(LETTERS)))
    assert lm.chunk == 8


def test_an_attention_memory_is_told_of():
    assert "attention memory of 64 bytes a token" in " ".join(rnneval.from_transformers(seeded(bamba)).assumptions)


def test_one_row_is_read_where_two_cannot_be():
    """One token a call for two rows gives logits of another shape: `hidden` is broadcast over the batch."""
    lm = rnneval.from_transformers(seeded(rwkv))
    assert not lm.batched
    assert "logits of shape (2, 2, 10)" in lm.assumptions[-1]


def test_a_model_without_a_state_is_refused():
    class NoCache(torch.nn.Module):
        def forward(self, input_ids=None, **kwargs):
            return transformers.modeling_outputs.CausalLMOutput(logits=torch.ones(*input_ids.shape, V))

    with pytest.raises(CheckpointError, match="carries no state"):
        rnneval.from_transformers(NoCache())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as `save_pretrained` writes it, with a tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    path = tmp_path_factory.mktemp("mamba2")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator([TEXT], trainers.BpeTrainer(vocab_size=270, initial_alphabet=alphabet))
    torch.manual_seed(0)
    mamba2(272).save_pretrained(path)
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(path)
    return path


def test_a_folder_is_evaluated_by_the_command(folder, tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    command = [sys.executable, "-m", "rnneval", "evaluate", folder, "text.txt", "--no-check", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr.count("[transformers]")) == (0, 0), done.stderr
    run = json.loads(done.stdout)
    lm = rnneval.open(folder)
    module, vocabulary = transformers.AutoModelForCausalLM.from_pretrained(folder), lm.vocabulary
    ids = torch.tensor([vocabulary.subword.encode(TEXT)[0].tolist()])
    with torch.no_grad():
        logits = module(ids[:, :-1], use_cache=False).logits[0].double()
    expected = float(torch.nn.functional.cross_entropy(logits, ids[0, 1:]))
    assert run["scores"]["cross_entropy"]["value"] == pytest.approx(expected, abs=1e-6)
    assert run["checkpoint"]["format"] == "transformers"
    assert run["checkpoint"]["sha256"] == lm.checkpoint.sha256


def test_a_folder_without_a_tokenizer_names_the_file(folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path / "model", ignore=shutil.ignore_patterns("tokenizer*"))
    with pytest.raises(VocabularyError, match=r"model has no tokenizer.json: save it there .*vocabulary=FILE"):
        rnneval.evaluate(rnneval.open(tmp_path / "model"), string=TEXT, check=False)
    monkeypatch.delattr("rnneval.models.torch.folder.open_folder")  # the command line refuses it before it is loaded
    with pytest.raises(VocabularyError, match=r"model has no tokenizer.json"):
        opened_by_any(str(tmp_path / "model"), OpenOptions())


def changed(**values):
    def change(path):
        config = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps(config | values))

    return change


def pickled(path):
    (path / "model.safetensors").rename(path / "pytorch_model.bin")


def weightless(path):
    (path / "model.safetensors").unlink()


def cut_off(path):
    whole = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(whole[: len(whole) // 2])


def linked(path):
    (path / "model.safetensors").rename(path.parent / "elsewhere.safetensors")
    (path / "model.safetensors").symlink_to(path.parent / "elsewhere.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pickled, r"pickled weights.*safe_serialization=True\), or convert .* by safetensors"),
        (weightless, "config.json without weights: model.safetensors is missing"),
        (cut_off, "not a whole file of safetensors"),
        (linked, "link out of the folder"),
        (
            changed(num_hidden_layers=10**9),
            "config.json asks for 1000000000 layers, and .* weights are of different models",
        ),
        (changed(vocab_size=10**9), "config.json asks for .* numbers, and .* weights are of different models"),
        (changed(hidden_size=20, head_dim=10), "has another shape: config.json and"),
        (changed(num_hidden_layers=3), "is missing: config.json and"),
        (changed(num_hidden_layers=1), "is left over: config.json and"),
        (
            changed(model_type="unheard-of", auto_map={"AutoModelForCausalLM": "evil.Model"}),
            "transformers cannot make it of config.json",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_folder_that_does_not_fit_is_refused_in_one_line(folder, tmp_path, change, message):
    path = tmp_path / "model"
    shutil.copytree(folder, path)
    (path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    change(path)
    with pytest.raises(CheckpointError, match=message) as error:
        rnneval.open(path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_the_script_of_a_fault_is_announced(tmp_path, capsys):
    _write_script(str(tmp_path / "fault.py"), "pass")
    assert f"{tmp_path / 'fault.py'} shows a fault without rnneval" in capsys.readouterr().err
