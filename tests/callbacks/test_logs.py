"""Keras' logs hold three values by default, all of them or none on request."""

import pytest

from rnneval.callbacks import GradientNorms, StateNorms
from rnneval.errors import UsageError
from tests.callbacks.small import compiled, trained
from tests.evaluate.small import LETTERS, letters

STATE = {
    "norm_mean", "norm_max", "rms", "mean", "lowest", "highest", "saturated", "dead", "duplicated", "speed", "drift",
    "participation_ratio",
}  # fmt: skip
GRADIENTS = {"grad_norm", "grad_norm_clipped", "update_ratio", "grad_not_finite"}
ALL = {
    *GRADIENTS,
    *(f"grad_norm/{layer}" for layer in ("embedding", "lstm", "logits")),
    *(f"heldout_{score}" for score in ("cross_entropy", "perplexity", "bits_per_char")),
    *(f"lstm.{slot}/{statistic}" for slot in "hc" for statistic in STATE),
}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """The history of a fit for each value of `logs=`, None for the default."""
    found = {}
    for logs in (None, "all", "none"):
        folder, given = tmp_path_factory.mktemp("fit"), {} if logs is None else {"logs": logs}
        states = StateNorms(folder / "s", letters(folder, 300), vocabulary=list(LETTERS), **given)
        norms = GradientNorms(folder / "h", **given)
        found[logs] = trained(compiled(), [norms, states], epochs=1).history
        assert len(states.runs) == 1
        assert list((folder / "h").iterdir())
    return found


@pytest.mark.grid
def test_three_values_by_default_all_or_none(fitted):
    assert set(fitted[None]) == {"loss", "grad_norm", "update_ratio", "heldout_perplexity"}
    assert set(fitted["all"]) == {"loss"} | ALL
    assert set(fitted["none"]) == {"loss"}


@pytest.mark.parametrize("logs", ["few", True])
def test_another_value_is_refused_before_a_folder_is_made(logs, tmp_path):
    for make in (
        lambda: GradientNorms(tmp_path / "h", logs=logs),
        lambda: StateNorms(tmp_path / "h", letters(tmp_path, 300), vocabulary=list(LETTERS), logs=logs),
    ):
        with pytest.raises(UsageError, match=f"logs={logs!r} is not known: give one of main, all, none"):
            make()
    assert not (tmp_path / "h").exists()
