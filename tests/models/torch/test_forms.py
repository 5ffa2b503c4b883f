"""Modules in the forms in which they are written: each is read as it is, and its planted fault is found."""

from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import rnneval  # noqa: E402
from rnneval.errors import CheckpointError  # noqa: E402

pytestmark = pytest.mark.torch

LETTERS = "abcdefg\n"
TEXT = "".join(np.random.default_rng(0).choice(list(LETTERS), 300))
V, H = len(LETTERS), 8


class Stack(torch.nn.Module):
    """Two layers; where it is wrong, the second one gets the state of the first."""

    time_first = embeds = False

    def __init__(self, *, wrong=False):
        super().__init__()
        if self.embeds:
            self.embedding = torch.nn.Embedding(V, V)
        self.lower, self.upper = (torch.nn.GRU(size, H, batch_first=not self.time_first) for size in (V, H))
        self.out, self.wrong = torch.nn.Linear(H, V), wrong

    def read(self, vectors, first, second):
        x, first = self.lower(vectors, first)
        x, second = self.upper(x, first if self.wrong else second)
        return self.out(x), first, second

    def init_hidden(self, batch_size):
        return torch.zeros(1, batch_size, H), torch.zeros(1, batch_size, H)


class Flat(Stack):
    """Logits `(batch * time, V)`, and a state that must be there."""

    embeds = True

    def forward(self, x, hidden):
        logits, *states = self.read(self.embedding(x), *hidden)
        return logits.reshape(-1, V), tuple(states)


class OneHot(Stack):
    """Vectors in place of ids."""

    def forward(self, x, hidden):
        logits, *states = self.read(x, *hidden)
        return logits, states


class Flagged(Stack):
    """The state is returned where it is asked for, beside a loss and a value for each token."""

    embeds = True

    def forward(self, x, hidden=(None, None), return_state=False):
        logits, *states = self.read(self.embedding(x), *hidden)
        return (logits, logits[..., :1], tuple(states), logits.mean()) if return_state else logits


class OwnStart(Stack):
    """The state is in attributes, which a method makes for so many rows."""

    embeds = True

    def init_hidden(self, batch_size):
        self.states = super().init_hidden(batch_size)

    def forward(self, x):
        logits, *states = self.read(self.embedding(x), *self.states)
        self.states = tuple(states)
        return logits


class WithLengths(Stack):
    """The lengths of the rows must be given."""

    embeds = True

    def forward(self, x, lengths, hidden=(None, None)):
        pack = torch.nn.utils.rnn.pack_padded_sequence
        vectors = pack(self.embedding(x), lengths, batch_first=True, enforce_sorted=False)
        packed, first = self.lower(vectors, hidden[0])
        packed, second = self.upper(packed, first if self.wrong else hidden[1])
        return self.out(torch.nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)[0]), (first, second)


class OneByOne(Stack):
    """Every state is an argument and a value of its own, without a name."""

    embeds = True

    def forward(self, x, *hidden):
        return self.read(self.embedding(x), *(hidden or (None, None)))


class TimeFirst(Flat):
    """Ids and logits have the tokens on their first axis."""

    time_first = True


class Token(Stack):
    """One token a call, `(batch,)`, and logits `(batch, V)`."""

    embeds = time_first = True

    def forward(self, token, hidden):
        logits, *states = self.read(self.embedding(token)[None], *hidden)
        return logits.view(len(token), V), tuple(states)


class Number(torch.nn.Module):
    """One token of one row a call, a number; logits `(V,)`."""

    def __init__(self):
        super().__init__()
        self.weight, self.out = (torch.nn.Parameter(torch.randn(shape) / 3) for shape in ((H, H), (V, H)))
        self.embedding = torch.nn.Embedding(V, H)

    def forward(self, token, state):
        state = torch.tanh(
            self.weight @ (self.weight.new_zeros(H) if state is None else state) + self.embedding.weight[token]
        )
        return self.out @ state, state


def model(kind, **options):
    torch.manual_seed(0)
    module = kind(**options)
    return module, rnneval.from_torch(module, vocabulary=[*LETTERS], time_first=getattr(kind, "time_first", False))


@pytest.mark.parametrize("kind", [Flat, OneHot, Flagged, OwnStart, WithLengths, OneByOne, TimeFirst])
def test_a_right_module_passes_and_a_shared_state_is_named(kind):
    assert rnneval.check(model(kind)[1]).verdict == "pass"
    findings = rnneval.check(model(kind, wrong=True)[1]).findings
    assert "shared-state" in {finding.rule for finding in findings}
    assert "upper" in {finding.layer for finding in findings}


def by_hand(module):
    """Add up the losses in one loop over tokens, in float64."""
    module, total = module.double().eval(), 0.0
    ids = [LETTERS.index(letter) for letter in TEXT]
    states = Stack.init_hidden(module, 1) if isinstance(module, Stack) else (None, None)
    states = tuple(None if state is None else state.double() for state in states)
    for token, target in pairwise(ids):
        with torch.no_grad():
            if isinstance(module, Number):
                logits, state = module(torch.tensor(token), states[0])
                states = (state, None)
            else:
                vector = module.embedding.weight[token] if module.embeds else torch.eye(V).double()[token]
                logits, *states = module.read(vector.view(1, 1, V), *states)
        total -= float(torch.log_softmax(logits.view(V), 0)[target])
    return total / (len(ids) - 1)


@pytest.mark.parametrize("kind", [Flat, OneHot, Flagged, OwnStart, WithLengths, OneByOne, TimeFirst, Token, Number])
def test_losses_are_those_of_a_loop_over_tokens(kind):
    module, lm = model(kind)
    run = rnneval.evaluate(lm, string=TEXT, check=False)
    assert run.total_nats / run.tokens.scored == pytest.approx(by_hand(module), abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "sentences"),
    [
        (OneHot, {f"the module is given one-hot vectors of {V} numbers", "a text begins with what init_hidden makes"}),
        (
            Token,
            {"the module is called with one token a call, `(batch,)`", "a text begins with what init_hidden makes"},
        ),
        (OneByOne, {"each value beside the logits is given back as an argument of its own"}),
        (Number, {"the module is called with one token of one row a call, a number"}),
    ],
)
def test_a_record_says_how_the_module_is_called(kind, sentences):
    assert sentences <= {*model(kind)[1].assumptions}


def test_rows_that_are_read_as_tokens_are_refused():
    class Forgotten(TimeFirst):
        """`batch_first` was forgotten, and the state is what PyTorch makes of None."""

        def forward(self, x, hidden=(None, None)):
            return super().forward(x, hidden)

    with pytest.raises(CheckpointError, match=r"^Forgotten reads ids as \(time, batch\): .*batch_first=True"):
        rnneval.from_torch(Forgotten())
