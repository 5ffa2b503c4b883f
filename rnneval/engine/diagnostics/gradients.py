"""`rnneval.gradients`: gradients on held-out text, by variable and back through time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from rnneval._version import __version__
from rnneval.engine.diagnostics.anchors import Anchors, AnchorWatch, Place, spread
from rnneval.engine.diagnostics.backwards import through_time, variable_gradients
from rnneval.engine.diagnostics.held_out import held_out, request
from rnneval.engine.precheck import WiringPrecheck
from rnneval.engine.stitch import TOLERANCE, Progress
from rnneval.errors import CheckpointError, TextError, UsageError
from rnneval.metrics.diagnostics import findings
from rnneval.models.lm import RecurrentLM
from rnneval.records.gradients import Gradients
from rnneval.records.run import Run, Warning  # noqa: A004 - the record's own word
from rnneval.text import EncodedText, Paths

SEGMENT = 64


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How much is looked at."""

    truncation: int = 100
    segments: int = 32
    lags: int = 200
    anchors: int = 64

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise UsageError(f"--{name} {value} is not a number of tokens or places: give at least 1")

    def fitting(self, longest: int) -> "Reach":
        """Look less far where the longest document has no room.

        Raises:
            TextError: there is no room at all.
        """
        room = longest - SEGMENT - 3
        if room < 2:
            raise TextError(f"no document has more than {longest} tokens: gradients need at least {SEGMENT + 5}")
        return Reach(
            truncation=min(self.truncation, room),
            segments=self.segments,
            lags=min(self.lags, room - 1),
            anchors=self.anchors,
        )


def gradients(
    lm: RecurrentLM,
    text: Paths,
    *,
    truncation: int = 100,
    segments: int = 32,
    lags: int = 200,
    anchors: int = 64,
    thresholds: Mapping[str, float] | None = None,
    part: str | None = None,
    normalize: str = "none",
    newlines: str = "keep",
    documents: str = "one",
    unknown: str = "error",
    tokens: str | None = None,
    streams: int | str = "auto",
    kernel: str = "auto",
    tolerance: float = TOLERANCE,
    seed: int = 0,
    check: bool = True,
    declare: Iterable[str] = (),
    progress: Progress | None = None,
    command: Sequence[str] = (),
) -> Gradients:
    """Measure gradients of the loss on held-out text, from the exact carried state.

    Args:
        lm: From `rnneval.open` or `rnneval.wrap`, with a vocabulary.
        text: One or more files of UTF-8 text, joined in this order.
        truncation: Tokens of a segment: how far back the gradients of variables reach, as in training.
        segments: How many segments, evenly spread over the text.
        lags: How far back through time it is looked.
        anchors: For how many tokens, evenly spread.
        thresholds: Other thresholds for the findings, by rule.
        part: As in `rnneval.evaluate`, like all below.
        normalize: See there.
        newlines: See there.
        documents: See there.
        unknown: See there.
        tokens: See there.
        streams: See there.
        kernel: See there.
        tolerance: See there.
        seed: Where segments and anchors are.
        check: Whether to look at the wiring first, as `rnneval.evaluate` does; what it finds becomes a warning.
        declare: What the author means on purpose, for the check.
        progress: Called with tokens read and tokens in all.
        command: What to record as the command that repeats it.

    Raises:
        UsageError, TextError, VocabularyError: as `rnneval.evaluate`.
        CheckpointError: the model's start cannot be given as a state, so that no segment can begin in the middle.
    """
    if not lm.mixable:
        raise CheckpointError("the model's start stands for no state that it returns: gradients need such a state")
    wanted = Reach(truncation=truncation, segments=segments, lags=lags, anchors=anchors)
    asked = request(
        text,
        thresholds=thresholds,
        check=check,
        declare=declare,
        command=command,
        part=part,
        normalize=normalize,
        newlines=newlines,
        documents=documents,
        unknown=unknown,
        tokens=tokens,
        streams=streams,
        kernel=kernel,
        tolerance=tolerance,
        seed=seed,
        progress=progress,
    )
    with held_out(lm, "follow gradients through", asked) as held:
        looking = _Looking(lm, held.text, wanted, seed)
        record = looking.record(held.record(held.measure(looking.watch)), held.sound)
    found = findings.find(findings.Facts(gradients=record, truncation=record.truncation), asked.thresholds)
    return msgspec.structs.replace(record, findings=found)


class _Looking:
    """Where it is looked, and what was seen there."""

    def __init__(self, lm: RecurrentLM, text: EncodedText, wanted: Reach, seed: int) -> None:
        self._lm, self._text = lm, text
        starts, stops = text.document_starts, text.document_stops
        self._reach = wanted.fitting(int((stops - starts).max()))
        room = SEGMENT + 1 + np.array([self._reach.truncation, self._reach.lags + 1])
        # A document's first position is no place to begin: no segment ends there.
        self._segments = spread(starts + 1, stops, int(room[0]), self._reach.segments, seed)
        self._anchors = spread(starts + 1, stops, int(room[1]), self._reach.anchors, seed)
        targets = np.unique(np.concatenate([self._segments, self._anchors]))
        self._seen = Anchors(targets=targets)
        self.watch = AnchorWatch(anchors=self._seen)

    def record(self, run: Run, sound: WiringPrecheck) -> Gradients:
        """Look, and put together the record."""
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
            checkpoint=run.checkpoint,
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
