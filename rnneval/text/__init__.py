"""Files → documents → ids, with exact counts of tokens, characters, bytes and words; vocabularies."""

from rnneval.options import Paths
from rnneval.text.documents import FinalText, InMemory, TextOptions, final_text, refuse_overlap, scored_text, text_given
from rnneval.text.encoding import EncodedText, TokenSlice, encode, encode_spans
from rnneval.text.units import BlockCuts
from rnneval.text.vocabulary import (
    Vocabulary,
    find_vocabulary,
    given_vocabulary,
    only_vocabulary_beside,
    siblings,
    vocabulary_of_lookup,
    vocabulary_of_tokenizer,
)

__all__ = [
    "BlockCuts", "EncodedText", "FinalText", "InMemory", "Paths", "TextOptions", "TokenSlice", "Vocabulary",
    "encode", "encode_spans", "final_text", "find_vocabulary", "given_vocabulary", "only_vocabulary_beside",
    "refuse_overlap", "scored_text", "siblings", "text_given", "vocabulary_of_lookup", "vocabulary_of_tokenizer",
]  # fmt: skip
