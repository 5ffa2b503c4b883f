"""A model that is wrong in calls that no run makes: its check fails, and its run is valid and says so."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import rnneval  # noqa: E402
from rnneval.records import wiring  # noqa: E402
from rnneval.wiring.torch.calls import CallTests  # noqa: E402
from rnneval.wiring.torch.flow import StateFlow  # noqa: E402
from rnneval.wiring.torch.modules import ModuleEvidence  # noqa: E402

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


class Cached(torch.nn.Module):
    """h ← tanh(A h + e(id)), with h as the cache, which calls of some lengths lose."""

    def __init__(self, loses):
        super().__init__()
        torch.manual_seed(0)
        self.loses, self.config = loses, transformers.PretrainedConfig(vocab_size=len(LETTERS))
        self.embed, self.recur = torch.nn.Embedding(len(LETTERS), 8), torch.nn.Linear(8, 8)
        self.out = torch.nn.Linear(8, len(LETTERS))

    def forward(self, input_ids, cache=None, use_cache=False):
        rows, time = input_ids.shape
        state = self.embed.weight.new_zeros(rows, 8) if cache is None or self.loses(time) else cache
        states = [state := torch.tanh(self.recur(state) + token) for token in self.embed(input_ids).unbind(1)]
        return transformers.utils.ModelOutput(logits=self.out(torch.stack(states, 1)), cache=state)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("loses", [(3).__le__, (1).__eq__, (1).__le__])
def test_a_model_that_only_long_calls_break_is_valid_in_calls_of_one_token(loses, tmp_path):
    lm = rnneval.from_transformers(Cached(loses).eval(), vocabulary=list(LETTERS))
    wiring = rnneval.check(lm)
    by_token, default = (rnneval.evaluate(lm, string=LETTERS * 4, segment=n) for n in (1, None))
    right = not loses(1)
    assert (wiring.verdict, wiring.right_by_token is True) == ("fail", right)
    assert (by_token.valid, default.valid, by_token.signature) == (right, False, default.signature)
    assert ("--segment 1 gives a valid number" in default.why_not_valid) == right
    by_token.save(tmp_path / "run.json")
    assert rnneval.read(tmp_path / "run.json") == by_token


@pytest.mark.parametrize("also", ["", "leaves", "causal", "batch", "alone", "fresh", "repeat", "crossed", "one token"])
def test_nothing_else_may_be_wrong_with_a_model_that_is_valid_in_calls_of_one_token(also):
    oracles = {name: wiring.TestResult(verdict="fail", tolerance=0.1, detail="") for name in ("chunk", also) if name}
    flow = StateFlow(right_by_token=also != "crossed")
    calls = CallTests(right_by_token=also != "one token")
    seen = ModuleEvidence(flow=flow, calls=calls, divergences={})
    assert seen.is_right_by_token(oracles) == (also in {"", "leaves"})
