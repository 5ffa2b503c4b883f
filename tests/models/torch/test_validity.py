"""A model that is wrong in calls that no run makes: its check fails, and its run is valid and says so."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import rnneval  # noqa: E402

pytestmark = pytest.mark.torch

LETTERS = "abcdefgh \n"


def test_faults_of_padded_rows_and_of_two_rows_leave_a_run_valid(tmp_path):
    """RWKV reads pads that its attention mask rules out; one token a call for two rows gives a wrong shape."""
    torch.manual_seed(0)
    config = transformers.RwkvConfig(vocab_size=10, hidden_size=16, num_hidden_layers=2, attention_hidden_size=16)
    lm = rnneval.from_transformers(transformers.RwkvForCausalLM(config), rnneval.Vocabulary.from_tokens(list(LETTERS)))
    text = "".join(np.random.default_rng(0).choice(list(LETTERS), 200))
    run = rnneval.evaluate(lm, string=text)
    errors = {finding.rule for finding in run.wiring.findings if finding.severity == "error"}
    assert (run.wiring.verdict, errors) == ("fail", {"padding-leak", "call-variance"})
    assert run.valid
    assert "in calls that this run does not make" in " ".join(warning.message for warning in run.warnings)
    run.save(tmp_path / "run.json")
    assert rnneval.read(tmp_path / "run.json").valid
