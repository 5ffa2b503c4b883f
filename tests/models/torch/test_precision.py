"""Half precision and int8: how far a score moves with the cut, and how many weights there are."""

import math
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import rnneval  # noqa: E402
from rnneval.gates.clusters import score_intervals  # noqa: E402

pytestmark = pytest.mark.torch

LETTERS = "abcdefg\n"
TEXT = "".join(np.random.default_rng(0).choice(list(LETTERS), 40_000))
KNOWN = {"vocabulary": list(LETTERS), "string": TEXT}


class Gru(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.out = torch.nn.Embedding(len(LETTERS), 8), torch.nn.Linear(16, len(LETTERS))
        self.gru = torch.nn.GRU(8, 16, batch_first=True)

    def forward(self, ids, state=None):
        outputs, state = self.gru(self.embedding(ids), state)
        return self.out(outputs), state


def made(seed=0):
    torch.manual_seed(seed)
    return Gru().eval()


def test_the_noise_of_the_cut_holds_the_scores_of_other_cuts():
    module = made().bfloat16()
    known = {**KNOWN, "string": TEXT[:9000]}
    one, other, whole = (rnneval.evaluate(module, check=False, **known, **how) for how in WAYS)
    losses = [run.scores["cross_entropy"] for run in (one, other, whole)]
    assert max(score.value for score in losses) > min(score.value for score in losses)
    assert all(abs(score.value - losses[0].value) <= one.cut_noise for score in losses)
    assert one.cut_noise < 1e-3
    assert any(warning.code == "cut-noise" for warning in one.warnings)
    within = "inside of the noise of the cut"
    assert any(within in warning for warning in rnneval.gate(one, other).warnings)
    assert any(within in warning for warning in rnneval.compare([one, other]).warnings)
    apart = rnneval.evaluate(made(1).bfloat16(), check=False, **known)
    assert not any(within in warning for warning in rnneval.gate(one, apart).warnings)


WAYS = {}, {"segment": 10}, {"streams": 1, "segment": 50}


def test_the_interval_is_wider_by_the_noise_and_float32_has_none():
    run = rnneval.evaluate(made().bfloat16(), check=False, **KNOWN)
    loss, perplexity = run.scores["cross_entropy"], run.scores["perplexity"]
    # Both bounds of the perplexity come from those of the loss, but for how each interval is made.
    assert math.log(perplexity.high) - math.log(perplexity.low) == pytest.approx(loss.high - loss.low, rel=1e-3)
    low, high = score_intervals(run.blocks, lossless=True).bounds["cross_entropy"]
    assert loss.high - loss.low == pytest.approx(high - low + 2 * run.cut_noise, rel=1e-6)
    assert rnneval.evaluate(made(), check=False, **KNOWN).cut_noise is None


def quantized(module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(module, {torch.nn.Linear, torch.nn.GRU}, dtype=torch.qint8)


@pytest.mark.filterwarnings("ignore")
def test_dynamic_int8_counts_its_weights_and_can_be_declared():
    module = made()
    packed = quantized(module)
    lm = rnneval.from_torch(packed, vocabulary=list(LETTERS))
    assert lm.checkpoint.parameters == sum(each.numel() for each in module.parameters())
    wiring = rnneval.check(lm)
    assert wiring.verdict == "fail"
    assert "--streams 1" in wiring.findings[0].message
    assert "scaled=call" in wiring.findings[0].message
    assert rnneval.check(lm, declare="scaled=call").verdict == "pass"
    runs = [rnneval.evaluate(lm, string=TEXT[:8000], declare=["scaled=call"], streams=rows) for rows in ("auto", 4)]
    assert all(run.valid and run.streams.count == 1 for run in runs)
    assert runs[0].total_nats == runs[1].total_nats
    assert rnneval.gate(*runs).verdict == "pass"
    ids = torch.tensor([[LETTERS.index(letter) for letter in TEXT[:8000]]])
    nats, state = 0.0, None
    with torch.no_grad():
        for at in range(0, 7999, 100):
            piece = ids[:, at : min(at + 100, 7999)]
            logits, state = packed(piece, state)
            wanted = ids[0, at + 1 : at + 1 + piece.shape[1]]
            nats += torch.nn.functional.cross_entropy(logits[0].double(), wanted, reduction="sum").item()
    assert runs[0].total_nats == pytest.approx(nats, rel=1e-6)


class Slow(torch.nn.Module):
    """A GRU that gathers what it reads over some 20 tokens: its state begins small, and so do errors of weights."""

    def __init__(self, keeps=1.0):
        super().__init__()
        torch.manual_seed(3)
        self.embedding, self.out = torch.nn.Embedding(8, 8), torch.nn.Linear(16, 8, bias=False)
        self.rnn, self.keeps = torch.nn.GRU(8, 16, batch_first=True), keeps
        with torch.no_grad():
            self.rnn.weight_hh_l0.mul_(0.3)
            self.out.weight.mul_(4)
            self.rnn.bias_hh_l0.zero_()
            self.rnn.bias_ih_l0.zero_()
            self.rnn.bias_ih_l0[16:32] = 3.0  # the gate that keeps the state

    def forward(self, ids, state=None):
        outputs, state = self.rnn(self.embedding(ids), None if state is None else self.keeps * state)
        return self.out(outputs), state


def rounded(model):
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_((weight * 128).round() / 128)
    return model


@pytest.mark.parametrize(("keeps", "verdict"), [(1.0, "inconclusive"), (0.5, "fail")])
def test_a_quantised_copy_that_is_called_token_by_token_fails_only_if_its_state_is_wrong(keeps, verdict):
    letters = list("abcdefgh")
    text = "".join(np.random.default_rng(0).choice(letters, 34_000))
    reference, candidate = (rnneval.from_torch(each, vocabulary=letters) for each in (Slow(), rounded(Slow(keeps))))
    record = rnneval.parity(reference, candidate, string=text, check=False, cand_segment=1)
    assert (record.verdict, record.first_above) == (verdict, 0)
    assert record.restarts.low > 10  # also of the right copy
    assert record.rounded_restarts.value > 10
