"""Recipe of the demo's trainings and measurements: sizes and lengths, the same for every model."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Sizes and lengths of a training run; the same recipe and seed give the same model on one machine."""

    embedding_dim: int = 64
    rnn_units: int = 128
    rows: int = 32
    segment: int = 64
    steps: int = 240
    characters: int | None = None
    """Length of the text that is used; None is the whole."""
    trained: int = 90
    """Per cent of the text; the rest is held out."""
    context: bool = True
    """Whether to measure the loss by length of context."""
    anchors: int = 64
    """Number of tokens from which the gradient is followed back through time."""
    lags: int = 200
    """Number of tokens that it is followed back."""
    segments: int = 32
    """Number of segments over which the gradients of the weights are averaged."""
    learning_rate: float = 4e-3
    seed: int = 0

    def builder_arguments(self, vocab_size: int) -> dict[str, int]:
        """Return the arguments of the demo's builders."""
        return {"vocab_size": vocab_size, "embedding_dim": self.embedding_dim, "rnn_units": self.rnn_units}


def recipe_for(*, seed: int, quick: bool) -> Recipe:
    """Return the recipe of the demo; with `quick` it trains for a few seconds only."""
    return (
        Recipe(
            seed=seed, steps=8, characters=200_000, rows=16, trained=99, context=False, anchors=16, lags=64, segments=8
        )
        if quick
        else Recipe(seed=seed)
    )
