"""Figures of a run record: loss along the text, context, forgetting."""

import msgspec
import pytest

from rnneval.render import figures
from tests.render.figures import made


def lines(ax):
    return {line.get_label(): line for line in ax.lines}


def with_sums(run, **sums):
    blocks = msgspec.structs.replace(run.blocks, sums={**run.blocks.sums, **sums})
    return msgspec.structs.replace(run, blocks=blocks)


def test_the_loss_of_each_block_at_its_middle(ax):
    figure = figures.figure_of(made.run((1.0, 2.0, 3.0, 2.0)), "loss_over_text")
    figure.draw(ax=ax)
    dots = lines(ax)["a block"]
    assert dots.get_xdata().tolist() == [128, 384, 640, 896]
    assert dots.get_ydata().tolist() == pytest.approx([1, 2, 3, 2])
    # Running mean of three neighbours, by tokens (the first block has 255 of its 256 bytes scored).
    expected = [(255 + 512) / 511, (255 + 512 + 768) / 767, (512 + 768 + 512) / 768, 2.5]
    assert lines(ax)["running mean"].get_ydata().tolist() == pytest.approx(expected)
    mean = (255 + 512 + 768 + 512) / 1023
    assert lines(ax)["mean, 2.00"].get_ydata()[0] == pytest.approx(mean)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("position in the text (bytes)", "loss (nats a token)")
    assert figure.title == "2.00 nats a token over 4 blocks of text"


def test_a_loss_that_is_not_finite_is_said_in_the_picture(ax):
    run = made.run((1.0, 2.0, 3.0))
    nats = (run.blocks.sums["nats"][0], float("nan"), run.blocks.sums["nats"][2])
    figure = figures.figure_of(with_sums(run, nats=nats), "loss_over_text")
    figure.draw(ax=ax)
    assert len(lines(ax)["a block"].get_xdata()) == 2
    assert "The loss of 1 block is not finite and not drawn." in {text.get_text() for text in ax.texts}
    assert "not finite" in figure.alt


def test_the_context_curve(ax):
    run = msgspec.structs.replace(made.run(median=192.0), context=made.curve())
    figure = figures.figure_of(run, "loss_by_context")
    figure.draw(ax=ax)
    assert figure.title == "100 tokens of context are as good as the full context"
    assert ax.get_xscale() == "log"
    curve = lines(ax)["state reset that many tokens before"]
    assert curve.get_xdata().tolist() == pytest.approx([1, 10, 100, 1000], rel=1e-12)
    assert curve.get_ydata().tolist() == [2.6, 2.0, 1.805, 1.80]
    assert lines(ax)["full context, 1.80"].get_ydata()[0] == 1.80
    assert lines(ax)["state forgets its start within 192 (median)"].get_xdata()[0] == 192
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "10", "100", "1,000"]
    assert ax.get_xlabel() == "context (tokens, logarithmic)"


def test_a_full_context_that_costs_is_said():
    curve = msgspec.structs.replace(made.curve(), whole=126.0)  # the curve has 2.6, 2.0, 1.805 and 1.80 nats
    figure = figures.figure_of(msgspec.structs.replace(made.run(), context=curve), "loss_by_context")
    assert figure.title == "The full context costs 124 nats more than 1,000 tokens of it"


@pytest.mark.parametrize(
    ("run", "word"),
    [
        (made.run(valid=False), "Not valid"),
        (made.run((5.0,) * 4), "Worse than guessing"),
        (made.run((2212.0,) * 4), "Diverged"),
    ],
)
def test_every_figure_of_a_run_without_a_score_says_so(run, word):
    found = figures.figures_of(msgspec.structs.replace(run, context=made.curve()))
    assert {"loss_over_text", "loss_by_context"} <= {figure.name for figure in found}
    for figure in found:
        assert figure.title.startswith(f"{word}: ")
        assert figure.alt.startswith(f"{word}. ")
    assert not any("guessing" in figure.title for figure in figures.figures_of(made.run()))
