"""Which tokeniser splits a text."""

from collections.abc import Callable

from rnneval.text.subword.tokeniser import SubwordTokeniser
from rnneval.text.tokenise import ByteTokeniser, CharTokeniser, Tokeniser, WordTokeniser
from rnneval.text.vocabulary import Vocabulary

_KINDS: dict[str, Callable[[Vocabulary, str], Tokeniser]] = {
    "char": CharTokeniser,
    "byte": ByteTokeniser,
    "word": WordTokeniser,
    "subword": SubwordTokeniser,
}


def tokeniser(vocabulary: Vocabulary, kind: str, unknown: str) -> Tokeniser:
    """Give the tokeniser of a kind.

    Raises:
        VocabularyError: the token for unknown ones is not in the vocabulary, or it has no tokenizer of word pieces.
    """
    return _KINDS[kind](vocabulary, unknown)
