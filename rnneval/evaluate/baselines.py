"""Baselines that learn: fitted to the training text, scored on the same tokens as the model.

The text is that of `--fit-on`, or without one the text that the vocabulary was taken from, as far as it is not scored.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from rnneval.errors import UsageError
from rnneval.evaluate.losses import Losses, add_up
from rnneval.gates.clusters import change_of_loss
from rnneval.metrics import baselines
from rnneval.options import LARGEST_ORDER, FitGroup
from rnneval.records.run import Blocks, Ngram
from rnneval.records.run import Warning as Warned
from rnneval.text import EncodedText, InMemory, Paths, TextOptions, Vocabulary, encode, final_text, refuse_overlap

_FURTHER = 2  # orders to try above the best one
_MANY_COPIED = 0.1
_LARGE = 2**21  # bytes of a training text: a larger one, whose n-grams take more than ten seconds, is to be named
_FEWEST_FITTED = 1000  # characters of a training text that are left to be counted


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Baselines that were fitted to a text."""

    counts: NDArray[np.int64]  # number of times that each id occurs in the fitted text, `(V,)`
    ngrams: dict[str, float]  # nats a token of `ngram-2`, `ngram-3`, …; empty if they were left out
    best: Ngram | None
    copied: float  # share of the scored tokens that end a run of `COPIED_TOKENS` that stands in the fitted text

    def beside(self, blocks: Blocks) -> Ngram | None:
        """Return the best n-gram with the change from it to a model; without one if the model's losses are unknown."""
        if self.best is None or "nats" not in blocks.sums:
            return self.best
        change = change_of_loss(msgspec.structs.replace(blocks, sums={"nats": self.best.nats}), blocks)
        return msgspec.structs.replace(self.best, change=change)

    def warnings(self) -> Iterator[Warned]:
        """Yield `copied` if much of the held-out text stands in the fitted one."""
        if self.copied >= _MANY_COPIED:
            from rnneval.metrics.baselines.ngram import COPIED_TOKENS

            message = (
                f"{100 * self.copied:.0f} % of the scored tokens end a run of {COPIED_TOKENS} tokens that stands in "
                "the training text, too: no score says how good the model is on new text"
            )
            yield Warned(code="copied", message=message)


_LATEST: dict[Any, Fitted] = {}
"""The last result, by all that it depends on: a sweep scores many checkpoints on the same texts."""


def fit(
    options: FitGroup,
    fit_on: Paths | InMemory | None,
    read_as: TextOptions,
    vocabulary: Vocabulary,
    scored: EncodedText,
    *,
    width: int,
    unscored: int,
) -> Fitted | None:
    """Fit the baselines to a text, or to the training text where it is known; no character of it may be scored."""
    if fit_on is None and (fit_on := _training_text(vocabulary, scored)) is None:
        return None
    fit_as = replace(read_as, part=options.fit_part, part_option="--fit-part")
    with encode(fit_on, vocabulary, fit_as) as text:
        refuse_overlap(text.files, scored.files)
        texts = [(one.sha256, one.signature_part, one.blocks.ends.tobytes()) for one in (text, scored)]
        key = (*texts, vocabulary.sha256, vocabulary.first_id, width, options.max_order, unscored)
        if key not in _LATEST:
            fitted = _fitted(text, scored, width, options.max_order, unscored)
            _LATEST.clear()
            _LATEST[key] = fitted
    return _LATEST[key]


def _training_text(vocabulary: Vocabulary, scored: EncodedText) -> Paths | InMemory | None:
    """Return the files that a vocabulary was taken from, or their longest unscored piece; None if they are unknown."""
    paths = tuple(path for path, _ in vocabulary.texts)
    files = [Path(path) for path in paths]
    if not files or not all(file.is_file() and file.stat().st_size <= _LARGE for file in files):
        return None
    if [hashlib.sha256(file.read_bytes()).hexdigest() for file in files] != [sha256 for _, sha256 in vocabulary.texts]:
        return None
    pieces = whole = ["".join(file.text for file in final_text(paths).files)]
    for core in (core for file in scored.files for core in (file.text, file.text.strip()) if core):
        pieces = [rest for piece in pieces for rest in piece.split(core)]
    if pieces == whole:
        return paths
    longest = max(pieces, key=len)
    return InMemory(text=longest) if len(longest) >= _FEWEST_FITTED else None


def _fitted(text: EncodedText, scored: EncodedText, width: int, max_order: int | None, unscored: int) -> Fitted:
    """Score every order, and keep the sums by block of the best."""
    counts = np.bincount(text.ids(0, text.tokens), minlength=width)
    if max_order == 1:
        return Fitted(counts=counts, ngrams={}, best=None, copied=0.0)
    # Most runs need no n-grams.
    from rnneval.metrics.baselines.ngram import MOST_TOKENS, TokenText, copied, losses_by_order

    for one, name, part in ((text, "the --fit-on text", "--fit-part"), (scored, "the scored text", "--part")):
        if one.tokens > MOST_TOKENS:
            raise UsageError(
                f"{name} has {one.tokens:,} tokens; n-grams are counted in up to {MOST_TOKENS:,}, which take about a "
                f"minute and a GB of memory: give a part of it ({part}), or --max-order 1 for no n-grams"
            )
    fitted, held_out = (TokenText(one.ids(0, one.tokens), one.document_starts) for one in (text, scored))
    wanted = scored.are_scored(np.arange(scored.tokens), unscored)
    means, best = {}, None
    for each in losses_by_order(fitted, held_out, vocabulary_size=width, max_order=max_order or LARGEST_ORDER):
        if each.order == 1:
            continue  # the unigram stands for it
        means[each.order] = float(each.nats[wanted].mean())
        if best is None or means[each.order] < means[best.order]:
            best = each
        elif max_order is None and each.order >= best.order + _FURTHER:
            break
    assert best is not None  # noqa: S101 - the highest order is at least 2
    sums = add_up(Losses(text=scored, unscored=unscored, nats=best.nats), width)
    return Fitted(
        counts=counts,
        ngrams={f"ngram-{order}": mean for order, mean in means.items()},
        best=Ngram(
            order=best.order,
            discounts=best.discounts,
            fitted_tokens=text.tokens,
            fitted_sha256=text.sha256,
            nats=sums.blocks.sums["nats"],
        ),
        copied=float(copied(fitted, held_out, vocabulary_size=width)[wanted].mean()),
    )


def baselines_of(id_counts: NDArray[np.int64], fitted: Fitted | None) -> dict[str, float]:
    """Return nats a token of every baseline; `id_counts` says how often each id was scored, `(V,)`."""
    base = baselines.nats_per_token(id_counts, None if fitted is None else fitted.counts)
    return base if fitted is None else {**base, **fitted.ngrams}
