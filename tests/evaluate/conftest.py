"""Models that several of the engine's tests look at, made once."""

from functools import cache

import pytest

from tests.evaluate.small import WORDS, Small, on_numpy, stacked

MODELS = {
    **{
        f"{kind} {'-'.join(map(str, units))}": (kind, units)
        for kind in ("GRU", "GRU reset before", "LSTM", "SimpleRNN")
        for units in ((8,), (7, 5), (6, 4, 9))
    }
}


@pytest.fixture(scope="session")
def keras_of():
    """Give the model of a kind and widths, the same one every time."""
    made: dict[str, Small] = {}

    def of(name: str, *, words: bool = False) -> Small:
        key = f"{name} {words}"
        if key not in made:
            kind, units = MODELS[name]
            made[key] = stacked(kind, units, WORDS) if words else stacked(kind, units)
        return made[key]

    return of


@pytest.fixture(scope="session")
def numpy_of(keras_of):
    """As `keras_of`, run by NumPy."""
    return cache(lambda name, words=False: on_numpy(keras_of(name, words=words)))
