"""The figure of the losses carried and reset, and of the norms, against arrays by hand."""

import pytest

import rnneval
from rnneval.render import figures
from tests.gates.test_carrying import LETTERS, TOKENS, ids_of, nats_by_hand, step_of


def test_the_figure_of_both_losses_and_the_norms(ax):
    step, begin = step_of("turns at 40,000")
    lm = rnneval.from_step(step, begin, vocabulary=list(LETTERS))
    ids = ids_of(0)
    text = "".join(LETTERS[k] for k in ids)
    run = rnneval.evaluate(lm, string=text, check=False, trained_at=50, streams=1, segment=1_000)
    far = run.beside_reset.how_far
    figure = figures.figure_of(run)
    assert figure.name == "how_far"
    assert figure.title == "Worse than guessing: Carrying the state helps up to 39,935 tokens, and costs from there"
    figure.draw(ax=ax)
    shown = {line.get_label(): line for line in ax.lines}
    for name, every in (("carried, with the change's interval", TOKENS), ("reset every 50 tokens", 50)):
        nats = nats_by_hand(ids, "turns at 40,000", every)
        means = [nats[a:b].mean() for a, b in zip(far.distance, [*far.distance[1:], far.end], strict=True)]
        assert shown[name].get_ydata().tolist() == pytest.approx(means, abs=1e-5)
    assert shown["training segment, 50 tokens"].get_xdata()[0] == 50
    (below,) = ax.child_axes
    assert {text.get_text() for text in below.texts} == {"state.age", "state.counts", "state.memory"}
    ages = next(line.get_ydata() for line in below.lines if line.get_ydata()[-1] > 90_000)
    assert ages.tolist() == pytest.approx([norm for norm in run.states["state.age"].norms if norm])
    # Of 99,999 tokens that are read, calls of 1,000 end at 1,000, 2,000, …: six or seven in a sixteenth.
    assert ages[:2].tolist() == pytest.approx([3_500, 9_500])
