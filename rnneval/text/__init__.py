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
from rnneval.text.encoding import Document, EncodedText, encode
from rnneval.text.pieces import TextOptions
from rnneval.text.sources import InMemory, Part, text_given
from rnneval.text.table import TokenSlice
from rnneval.text.units import BlockCuts
from rnneval.text.vocabulary import Vocabulary, find_vocabulary, given_vocabulary, siblings

__all__ = [
    "BlockCuts",
    "Document",
    "EncodedText",
    "InMemory",
    "Part",
    "Paths",
    "TextOptions",
    "TokenSlice",
    "Vocabulary",
    "encode",
    "find_vocabulary",
    "given_vocabulary",
    "siblings",
    "text_given",
]
