"""Everything that is taken as a vocabulary gives the same ids."""

import json

import keras
import numpy as np
import pytest

import rnneval
from rnneval.errors import VocabularyError
from tests.models.keras.zoo import WIDTH

TOKENS = [*"abcdefghijklmnopqrstuvwxyz"[:WIDTH]]


def a_file(folder):
    path = folder / "vocabulary.json"
    path.write_text(json.dumps(TOKENS))
    return path


FORMS = {
    "list": lambda _: TOKENS,
    "tuple": lambda _: tuple(TOKENS),
    "array": lambda _: np.array(TOKENS),
    "token to id": lambda _: {token: id_ for id_, token in enumerate(TOKENS)},
    "id to token": lambda _: dict(enumerate(TOKENS)),
    "file": a_file,
    "layer": lambda _: keras.layers.StringLookup(vocabulary=TOKENS, num_oov_indices=0),
    "inverted layer": lambda _: keras.layers.StringLookup(vocabulary=TOKENS, num_oov_indices=0, invert=True),
    "Vocabulary": lambda _: rnneval.Vocabulary.from_tokens(TOKENS),
}


def opened(vocabulary):
    """A model of `WIDTH` ids."""
    step = lambda ids, state: (np.cos(ids[..., None] + np.arange(WIDTH)), state + ids.sum(axis=1))  # noqa: E731
    return rnneval.from_step(step, np.zeros, vocab_size=WIDTH, vocabulary=vocabulary)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_ids(tmp_path, form):
    lm = opened(FORMS[form](tmp_path))
    assert dict(lm.vocabulary.ids) == {token: id_ for id_, token in enumerate(TOKENS)}


def test_the_ids_of_a_lookup_layer_are_not_moved_to_fit():
    """A list of one token less than the outputs gets ids from 1; a layer has said what its ids are."""
    layer = keras.layers.StringLookup(vocabulary=TOKENS[1:], num_oov_indices=0)
    assert opened(TOKENS[1:]).vocabulary.first_id == 1
    with pytest.raises(VocabularyError, match="too small"):
        opened(layer)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (set(TOKENS), r"is of type set: give a list of tokens in the order .* sorted\(set\(text\)\)"),
        (5, "is of type int: give a list"),
        (keras.layers.Dense(2), "is of type Dense: give a list"),
        (["a", "a"], "the token 'a' has the ids 0 and 1"),
    ],
)
def test_what_is_no_vocabulary_is_refused_in_a_sentence(given, said):
    with pytest.raises(VocabularyError, match=said):
        opened(given)
