"""`.model` files of SentencePiece, identified by their content and run by the library `sentencepiece` from memory."""

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import VocabularyError
from rnneval.text.subword.base import Offsets, Subword, digits, library, plainly

_SPACE = "▁"
_LARGEST = 1 << 21


def is_sentencepiece(raw: bytes) -> bool:
    r"""Return whether bytes begin as a model does: a message (field 1) whose field 1 is a string and field 2 a float.

    >>> is_sentencepiece(b"\n\x0e\n\x05<unk>\x15\x00\x00\x00\x00\x18\x02\n\x0c"), is_sentencepiece(b"\n\n \na\n")
    (True, False)
    """
    if len(raw) < 4 or raw[0] != 0x0A or raw[2] != 0x0A or not 2 <= raw[1] < 0x80 or raw[3] >= 0x80:
        return False
    return raw[4 + raw[3] : 5 + raw[3]] == b"\x15"


class SentencePiece(Subword):
    """A model of the library `sentencepiece`."""

    def __init__(self, raw: bytes, name: str) -> None:
        self.name = name
        self.sha256 = hashlib.sha256(raw).hexdigest()
        sentencepiece = library("sentencepiece", name)
        with plainly(name, "the library sentencepiece cannot load it"):
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=raw)
            size = int(self._processor.get_piece_size())
            if not 0 < size <= _LARGEST:
                raise VocabularyError(f"{name}: has {size:,} pieces, 1 to {_LARGEST:,} are read")
            pieces = [str(self._processor.id_to_piece(id_)) for id_ in range(size)]
            self._bytes = {piece for id_, piece in enumerate(pieces) if self._processor.is_byte(id_)}
            self.unknown_id = int(self._processor.unk_id())
            first = self._processor.encode("x", return_type="offset_mapping")["pieces"][:1]
        self.tokens = {piece: id_ for id_, piece in enumerate(pieces)}
        if len(self.tokens) != size:
            raise VocabularyError(f"{name}: a piece comes twice: pieces and ids must be one-to-one")
        self.adds_space = any(piece.startswith(_SPACE) for piece in first)

    def encode(self, text: str) -> tuple[NDArray[np.int32], Callable[[], Offsets]]:
        """Return the ids and offsets of a text."""
        with plainly(self.name, "the library sentencepiece cannot encode the text"):
            ids = np.asarray(self._processor.encode(text, return_type="numpy"), np.int32)
        return ids, lambda: self._offsets(text)

    def normalized(self, text: str) -> str:
        """Return the text unchanged: an unknown character has a token of its own."""
        return text

    def spelling(self, piece: str) -> bytes:
        """Return the bytes of text that a piece stands for."""
        byte = digits(piece) if piece in self._bytes else None
        return piece.replace(_SPACE, " ").encode() if byte is None else byte

    def _offsets(self, text: str) -> Offsets:
        with plainly(self.name, "the library sentencepiece cannot encode the text"):
            pairs = self._processor.encode(text, return_type="offset_mapping")["offsets"]
            places = np.array(pairs, np.int64).reshape(-1, 2)
        return places[:, 0], places[:, 1]
