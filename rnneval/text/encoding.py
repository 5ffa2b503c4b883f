"""Files → ids: one pass, with everything counted on the way."""

import hashlib
from array import array

import numpy as np

from rnneval.errors import TextError
from rnneval.records import run
from rnneval.text.blocks import BlockCutter
from rnneval.text.encoded import EncodedText
from rnneval.text.kinds import tokeniser
from rnneval.text.options import TextOptions
from rnneval.text.pieces import Piece, final_text
from rnneval.text.sources import Paths, Sources
from rnneval.text.spans import Spanner
from rnneval.text.spool import Narrow, Spool, Wide
from rnneval.text.units import Letters, letters
from rnneval.text.vocabulary import Vocabulary


def encode(paths: Paths, vocabulary: Vocabulary, options: TextOptions | None = None) -> EncodedText:
    """Read files as one text and turn it into ids, in memory that does not grow with its length.

    Args:
        paths: One path, or several to be joined with nothing between.
        vocabulary: Already made to fit the model (`Vocabulary.fit`).
        options: What to read, and how.

    Returns:
        The encoded text; close it (or use it as a context manager) to give its temporary file back.

    Raises:
        TextError: a file cannot be read as UTF-8 text, nothing is left of it, it has characters, bytes or words that
            the vocabulary lacks (with `unknown="error"`), or no document has 2 tokens.
        VocabularyError: the token that stands for unknown ones is not in the vocabulary.
    """
    options = options or TextOptions()
    encoder = _Encoder(Sources(paths), vocabulary, options)
    try:
        return encoder.encode()
    except BaseException:
        encoder.spool.close()
        raise


class _Encoder:
    """One pass over one text: each piece is looked at once, and by everyone."""

    def __init__(self, sources: Sources, vocabulary: Vocabulary, options: TextOptions) -> None:
        self._sources = sources
        self._vocabulary = vocabulary
        self._options = options
        self._tokeniser = tokeniser(vocabulary, options.tokens or vocabulary.kind, options.unknown)
        narrow = self._tokeniser.narrow and options.unknown != "skip" and vocabulary.size < Narrow.largest_id
        self.spool = Spool(Narrow() if narrow else Wide())
        self._spanner = Spanner(self.spool, self._tokeniser.eos_id)
        self._blocks = BlockCutter()
        self._totals = _Totals()

    def encode(self) -> EncodedText:
        """Encode it all."""
        for piece in self._tokeniser.pieces(final_text(self._sources, self._options)):
            looked_at = self._totals.add(piece)
            self._blocks.feed(looked_at)
            self._spanner.feed(self._tokeniser.tokens(piece, looked_at))
        self._spanner.finish()
        self._refuse()
        return self._result()

    def _refuse(self) -> None:
        name, unknowns = self._sources.name, self._tokeniser.unknowns
        if self._options.unknown == "error":
            unknowns.refuse(name, self._vocabulary.ids)
        tokens, documents = self.spool.tokens, len(self._spanner.document_starts)
        if tokens > documents:
            return
        left_out = f" ({unknowns.total:,} unknown ones were skipped)" if self._options.unknown == "skip" else ""
        if tokens < 2:
            has = f"the text has {tokens} token{'s' * (tokens != 1)}{left_out}, at least 2 are needed"
        else:
            has = f"each of the {documents} documents has 1 token{left_out}, at least 2 are needed in one of them"
        raise TextError(f"{name}: {has}: the first has no prediction; give a longer text")

    def _result(self) -> EncodedText:
        totals, kind = self._totals, self._tokeniser.kind
        return EncodedText(
            tokens=self.spool.tokens,
            document_starts=_int64(self._spanner.document_starts),
            document_stops=np.append(_int64(self._spanner.document_starts)[1:], self.spool.tokens),
            text_documents=totals.documents,
            unknown=self._tokeniser.unknowns.total,
            lossless=self._layout() is not None and not self._tokeniser.unknowns.total,
            layout=self._layout(),
            token_kind=kind,
            files=tuple(self._sources.files),
            taken=self._sources.taken(self._options.sliced),
            sha256=totals.digest.hexdigest(),
            characters=totals.characters,
            bytes=totals.bytes,
            words=totals.words,
            warnings=tuple(self._warnings()),
            vocabulary=self._vocabulary,
            blocks=self._blocks.finish(),
            signature_part=self._options.signature_part(kind),
            spool=self.spool,
        )

    def _layout(self) -> str | None:
        return self._tokeniser.layout(self._spanner.layouts)

    def _warnings(self) -> list[run.Warning]:
        found = list(self._sources.warnings)
        if self._tokeniser.unknowns.total:
            found.append(run.Warning(code="unknown", message=self._about_unknown()))
        if self._layout() is None:
            found.append(run.Warning(code="lossy", message=self._tokeniser.about_loss(self._sources.name)))
        returns = self._totals.carriage_returns
        if returns:
            message = f"{self._sources.name} has {returns:,} carriage returns, kept as they are; --newlines lf: LF only"
            found.append(run.Warning(code="carriage-return", message=message))
        without = self._totals.documents - len(self._spanner.document_starts)
        if without:
            message = f"{without:,} of {self._totals.documents:,} documents have no token: their text goes to the next"
            found.append(run.Warning(code="no-token", message=message))
        return found

    def _about_unknown(self) -> str:
        done = "skipped" if self._options.unknown == "skip" else f"read as {self._options.unknown!r}"
        described = self._tokeniser.unknowns.describe(self._sources.name)
        return f"{described}: {done}; bits per character are a lower bound"


class _Totals:
    """Counts over the final text, which no tokenisation changes."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.characters = self.bytes = self.words = self.carriage_returns = self.documents = 0
        self._after_word = False

    def add(self, piece: Piece) -> Letters:
        """Look at a piece and count it."""
        self.documents += len(piece.starts)
        looked_at = letters(piece.text, piece.starts, after_word=self._after_word)
        self._after_word = not looked_at.space[-1]
        self.digest.update(looked_at.utf8)
        self.characters += len(piece.text)
        self.bytes += len(looked_at.utf8)
        self.words += int(np.count_nonzero(looked_at.begins))
        self.carriage_returns += piece.text.count("\r")
        return looked_at


def _int64(places: "array[int]") -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.array(places, np.int64)
