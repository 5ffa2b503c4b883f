"""`rnneval.gradients`: gradients on held-out text, by variable and back through time."""

from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from rnneval._version import __version__
from rnneval.backends.protocol import LanguageModel, Place
from rnneval.engine.diagnostics.anchors import Anchors, AnchorWatch, spread
from rnneval.engine.diagnostics.held_out import held_out
from rnneval.engine.precheck import WiringPrecheck
from rnneval.errors import CheckpointError, TextError, UsageError
from rnneval.metrics.diagnostics import findings
from rnneval.models.derivatives import through_time, variable_gradients
from rnneval.models.lm import RecurrentLM
from rnneval.options import GradientOptions, on_model
from rnneval.records.gradients import Gradients
from rnneval.records.run import Run, Warning  # noqa: A004 - the record's own word
from rnneval.text import EncodedText, Paths, text_given

SEGMENT = 64


@on_model(GradientOptions)
def gradients(lm: LanguageModel, text: Paths | None = None, *, options: GradientOptions) -> Gradients:
    """Measure gradients of the loss on held-out text, from the exact carried state.

    A finding of the wiring check becomes a warning.

    Args:
        lm: Model from `rnneval.open` or `rnneval.wrap`, with a vocabulary.
        text: One or more files of UTF-8 text, joined in this order; or give `string`.
        options: Keyword arguments, each a field of `GradientOptions`.

    Raises:
        UsageError, TextError, VocabularyError: as `rnneval.evaluate`; also a model that Keras does not run.
        CheckpointError: the model's start cannot be given as a state, so that no segment can begin in the middle.
    """
    if not isinstance(lm, RecurrentLM):
        raise UsageError(
            f"gradients are followed through the layers of Keras, and the backend of this model is {lm.backend}: "
            "open a saved model with backend='keras'; a step function has no gradients to show"
        )
    if not lm.mixable:
        raise CheckpointError("the model's start stands for no state that it returns: gradients need such a state")
    with held_out(lm, "follow gradients through", text_given(text, options.string), options) as held:
        probes = _Probes(lm, held.text, options)
        record = probes.record(held.record(held.measure(probes.watch)), held.sound)
    found = findings.find(findings.Facts(gradients=record, truncation=record.truncation), options.thresholds or {})
    return msgspec.structs.replace(record, findings=found)


def _fitting(options: GradientOptions, longest: int) -> GradientOptions:
    """Shorten the reach of the probes to the longest document.

    Raises:
        TextError: that document is too short for any.
    """
    room = longest - SEGMENT - 3
    if room < 2:
        raise TextError(f"no document has more than {longest} tokens: gradients need at least {SEGMENT + 5}")
    return replace(options, truncation=min(options.truncation, room), lags=min(options.lags, room - 1))


class _Probes:
    """Places of the text from which gradients are followed, and the states that were seen there."""

    def __init__(self, lm: RecurrentLM, text: EncodedText, options: GradientOptions) -> None:
        self._lm, self._text = lm, text
        starts, stops = text.document_starts, text.document_stops
        reach = self._reach = _fitting(options, int((stops - starts).max()))
        room = SEGMENT + 1 + np.array([reach.truncation, reach.lags + 1])
        # A document's first position is no place to begin: no segment ends there.
        self._segments = spread(starts + 1, stops, int(room[0]), reach.segments, reach.seed)
        self._anchors = spread(starts + 1, stops, int(room[1]), reach.anchors, reach.seed)
        targets = np.unique(np.concatenate([self._segments, self._anchors]))
        self._seen = Anchors(targets=targets)
        self.watch = AnchorWatch(anchors=self._seen)

    def record(self, run: Run, sound: WiringPrecheck) -> Gradients:
        """Follow the gradients and make the record."""
        reach = self._reach
        loss, variables, nothing = variable_gradients(
            self._lm, self._text, self._places(self._segments), reach.truncation
        )
        courses, missing = through_time(self._lm, self._text, self._places(self._anchors), reach.lags)
        return Gradients(
            rnneval=__version__,
            created=datetime.now(UTC).astimezone().isoformat(timespec="seconds"),
            command=run.command,
            signature=run.signature,
            checkpoint=self._lm.checkpoint,
            text=run.text,
            truncation=reach.truncation,
            segments=len(self._segments),
            loss=loss,
            variables=variables,
            anchors=len(self._anchors),
            lags=reach.lags,
            through_time=courses,
            findings=(),
            warnings=(
                *sound.warnings,
                *(
                    Warning(code="no-gradient", message=f"no gradient of {name}: {why}")
                    for name, why in {**nothing, **missing}.items()
                ),
            ),
        )

    def _places(self, targets: NDArray[np.int64]) -> list[Place]:
        return [self._seen.places[int(target)] for target in targets]
