"""The record of what was recognised in a model."""

from rnneval.backends.protocol import LanguageModel
from rnneval.records.opened import Opened
from rnneval.records.run import Input, Output


def opened(lm: LanguageModel) -> Opened:
    """Return the record that `rnneval open` shows."""
    return Opened(
        checkpoint=lm.checkpoint,
        input=Input(kind=lm.input_kind),
        output=Output(kind=lm.output_kind),
        width=lm.width,
        vocabulary=None if lm.vocabulary is None else lm.vocabulary.record(),
        why_no_vocabulary=lm.why_no_vocabulary or None,
        assumptions=lm.assumptions,
    )
