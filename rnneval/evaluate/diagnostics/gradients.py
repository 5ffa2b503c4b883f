"""`rnneval.gradients`: gradients on held-out text, by variable and back through time."""

import msgspec
import numpy as np

from rnneval.errors import CheckpointError, TextError
from rnneval.evaluate.check import wiring_warnings
from rnneval.evaluate.diagnostics.probes import derivatives_of, spread
from rnneval.evaluate.plan import SEGMENT
from rnneval.evaluate.run import held_out
from rnneval.evaluate.watch import Watch
from rnneval.metrics.diagnostics import findings
from rnneval.models.protocol import LanguageModel
from rnneval.models.wrapping import language_model
from rnneval.options import GradientOptions, by_keyword
from rnneval.records.run import Gradients, Warning  # noqa: A004 - the record's own word
from rnneval.text import Paths, text_given


@by_keyword(GradientOptions)
def gradients(lm: LanguageModel, text: Paths | None = None, *, options: GradientOptions) -> Gradients:
    """Measure gradients of the loss on held-out text, from the exact carried state.

    A finding of the wiring check becomes a warning.

    Args:
        lm: Model, as `rnneval.evaluate` takes it.
        text: One or more files of UTF-8 text, joined in this order; or give `string`.
        options: Keyword arguments, each a field of `GradientOptions`.

    Returns:
        The record: the loss, the norms of each variable's gradients, and by state how much of the gradient is left so
        many tokens back.

    Raises:
        UsageError, TextError, VocabularyError: as `rnneval.evaluate`; also a model that neither Keras nor PyTorch runs.
        CheckpointError: the model's start cannot be given as a state, so that no segment can begin in the middle.
    """
    lm = language_model(lm, options.vocabulary, "gradients")
    derivatives = derivatives_of(lm, "gradients are followed")
    if not lm.mixable:
        raise CheckpointError("the model's start stands for no state that it returns: gradients need such a state")
    findings.require_known(options.thresholds or {})
    with held_out(lm, "follow gradients through", text_given(text, options.string), options) as (encoded, wiring, read):
        starts, stops = encoded.document_starts, encoded.document_stops
        longest = int((stops - starts).max())
        room = longest - SEGMENT - 3
        if room < 2:
            raise TextError(f"no document has more than {longest} tokens: gradients need at least {SEGMENT + 5}")
        truncation, lags = min(options.truncation, room), min(options.lags, room - 1)
        # A document's first position is no place to begin: no segment ends there.
        segments = spread(starts + 1, stops, SEGMENT + 1 + truncation, options.segments, options.seed)
        anchors = spread(starts + 1, stops, SEGMENT + 1 + lags + 1, options.anchors, options.seed)
        watch = Watch(targets=np.unique(np.concatenate([segments, anchors])))
        run = read(watch)
        places = [[watch.by_position["places"][int(target)] for target in targets] for targets in (segments, anchors)]
        loss, variables, nothing = derivatives.variable_gradients(lm, encoded, places[0], truncation)
        courses, missing = derivatives.through_time(lm, encoded, places[1], lags)
        warnings = [*wiring_warnings(wiring), *lm.warnings]
        for name, why in {**nothing, **missing}.items():
            warnings.append(Warning(code="no-gradient", message=f"no gradient of {name}: {why}"))
        record = Gradients(
            rnneval=run.rnneval,
            created=run.created,
            command=run.command,
            signature=run.signature,
            checkpoint=lm.checkpoint,
            text=run.text,
            truncation=truncation,
            segments=len(segments),
            loss=loss,
            variables=variables,
            anchors=len(anchors),
            lags=lags,
            through_time=courses,
            findings=(),
            warnings=tuple(warnings),
        )
    signs = findings.find(options.thresholds or {}, gradients=record, truncation=truncation)
    return msgspec.structs.replace(record, findings=signs)
