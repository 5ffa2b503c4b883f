"""The record of what was recognised in a model."""

from rnneval.backends.protocol import LanguageModel
from rnneval.records.opened import Opened
from rnneval.records.run import Input, Output, Vocabulary


def opened(lm: LanguageModel) -> Opened:
    """Return the record that `rnneval open` shows."""
    known = lm.vocabulary
    return Opened(
        checkpoint=lm.checkpoint,
        input=Input(kind=lm.input_kind),
        output=Output(kind=lm.output_kind),
        width=lm.width,
        vocabulary=None if known is None else Vocabulary(size=known.size, sha256=known.sha256, source=known.source),
        why_no_vocabulary=lm.why_no_vocabulary or None,
        assumptions=lm.assumptions,
    )
