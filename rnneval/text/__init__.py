"""Files → documents → ids, with exact counts of tokens, characters, bytes and words; vocabularies.

>>> import pathlib, tempfile
>>> folder = tempfile.TemporaryDirectory()
>>> path = pathlib.Path(folder.name, "held_out.txt")
>>> _ = path.write_text("to be or not to be")
>>> with encode(path, Vocabulary.from_text(path)) as encoded:
...     encoded.tokens, encoded.words, encoded.read(0, 5).ids.tolist()
(18, 6, [6, 4, 0, 1, 2])
>>> folder.cleanup()
"""

from rnneval.options import Paths
from rnneval.text.documents import (
    FinalText,
    InMemory,
    Part,
    TextOptions,
    final_text,
    refuse_overlap,
    scored_text,
    text_given,
)
from rnneval.text.encoding import EncodedText, TokenSlice, encode, encode_spans
from rnneval.text.units import BlockCuts
from rnneval.text.vocabulary import (
    Vocabulary,
    find_vocabulary,
    given_vocabulary,
    only_vocabulary_beside,
    siblings,
    vocabulary_of_lookup,
)

__all__ = [
    "BlockCuts", "EncodedText", "FinalText", "InMemory", "Part", "Paths", "TextOptions", "TokenSlice", "Vocabulary",
    "encode", "encode_spans", "final_text", "find_vocabulary", "given_vocabulary", "only_vocabulary_beside",
    "refuse_overlap", "scored_text", "siblings", "text_given", "vocabulary_of_lookup",
]  # fmt: skip
