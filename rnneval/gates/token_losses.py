"""Two tables of losses of the same text, token by token: for a model that was ported, converted or quantized."""

import hashlib
import math
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from rnneval.errors import RecordError, UsageError
from rnneval.records._base import Shown, Value
from rnneval.records.losses import COLUMNS, LossTable, read_losses

if TYPE_CHECKING:
    import pandas as pd

WITHIN = 1e-4
"""Nats: by how much two losses of a token may differ by default."""
_QUANTILES = (0.5, 0.9, 0.99, 0.999)
_BEFORE, _AFTER = 40, 10


class TokenDifference(Value, frozen=True, kw_only=True):
    """A token and its two losses."""

    token: int
    """Its place among all tokens of the text, from 0."""
    byte_start: int
    """Its first byte in the text."""
    byte_end: int
    id: int | None = None
    baseline: float
    """Its loss in the first table, in nats."""
    candidate: float
    text: str | None = None
    """The text around it, with the token in guillemets, if the text was given."""

    @property
    def difference(self) -> float:
        """Candidate − baseline, in nats."""
        return self.candidate - self.baseline


class LossComparison(Shown, frozen=True, kw_only=True, tag_field="schema", tag="rnneval.compare-losses/1"):
    """Two tables of losses of the same tokens."""

    baseline: str
    """Name of the first table."""
    candidate: str
    tokens: int
    within: float
    """Largest difference that counts as equal, in nats."""
    beyond: int
    """Number of tokens that differ by more."""
    first: TokenDifference | None = None
    """The first token that differs by more; absent if none does."""
    largest: TokenDifference
    """The token with the largest difference."""
    mean: float
    """Mean of candidate − baseline, in nats a token."""
    quantiles: dict[str, float]
    """Quantiles of |candidate − baseline|, in nats, by their share: `0.5`, `0.9`, `0.99`, `0.999`."""

    def to_frame(self) -> "pd.DataFrame":
        """Return the comparison as a pandas DataFrame of one row.

        Columns: `baseline`, `candidate`, `tokens`, `within`, `beyond`, `first` (token, absent if none), `largest`
        (token), `largest_difference`, `mean`, and a column for each quantile.
        """
        import pandas as pd

        row = {
            "baseline": self.baseline, "candidate": self.candidate, "tokens": self.tokens, "within": self.within,
            "beyond": self.beyond, "first": None if self.first is None else self.first.token,
            "largest": self.largest.token, "largest_difference": self.largest.difference, "mean": self.mean,
            **{f"quantile_{share}": nats for share, nats in self.quantiles.items()},
        }  # fmt: skip
        return pd.DataFrame([row])

    def _in_one_line(self) -> str:
        """Return how many tokens differ, the first of them, and the largest difference."""
        first = "" if self.first is None else f", the first is token {self.first.token}"
        return (
            f"of {self.tokens} tokens: {self.beyond} differ by more than {self.within:g} nats{first}; the largest "
            f"difference is {abs(self.largest.difference):.3g}"
        )


def compare_losses(baseline: Any, candidate: Any, *, within: float = WITHIN, text: str | None = None) -> LossComparison:
    """Compare the losses of two programs or files for every token of the same text.

    Args:
        baseline: Table as `rnneval.evaluate(…, losses=…)` writes it: a .parquet, .csv or .jsonl file, a dict of arrays
            or a DataFrame.
        candidate: The other table.
        within: Largest difference that counts as equal, in nats.
        text: The final text that was scored, to show the places in.

    Raises:
        RecordError: a table cannot be read, or the tables are not of the same tokens.
        UsageError: `within` is below 0 or no number, or it is another text.

    >>> first = {"token": [1, 2], "byte_start": [1, 2], "byte_end": [2, 3], "nats": [0.5, 0.25]}
    >>> found = compare_losses(first, {**first, "nats": [0.5, 0.75]}, text="abc")
    >>> found.beyond, found.first.token, found.largest.difference, found.first.text
    (1, 2, 0.5, 'ab«c»')
    """
    if not (within >= 0 and math.isfinite(within)):
        raise UsageError(f"--within {within} is not allowed: give a number of nats of at least 0, such as {WITHIN:g}")
    ours, theirs = (_in_order(read_losses(source)) for source in (baseline, candidate))
    _require_same_tokens(ours, theirs)
    scored = None if text is None else text.encode()
    if scored is not None:
        known = ours.text_sha256 or theirs.text_sha256
        other = known and hashlib.sha256(scored).hexdigest() != known
        if other or int(ours.byte_end.max()) > len(scored):
            raise UsageError(
                f"the text given has {len(scored):,} bytes and is not the one that was scored: give the same files, "
                "and the --part of them as a file of its own"
            )
    differences = np.abs(theirs.nats - ours.nats)
    far = np.flatnonzero(differences > within)
    return LossComparison(
        baseline=ours.name,
        candidate=theirs.name,
        tokens=len(ours.nats),
        within=within,
        beyond=far.size,
        first=_place(ours, theirs, int(far[0]), scored) if far.size else None,
        largest=_place(ours, theirs, int(differences.argmax()), scored),
        mean=float((theirs.nats - ours.nats).mean()),
        quantiles={str(share): float(np.quantile(differences, share)) for share in _QUANTILES},
    )


def _in_order(table: LossTable) -> LossTable:
    """Return the rows in the order of the text."""
    if not len(table.token):
        raise RecordError(f"{table.name}: has no row: there is nothing to compare")
    order = np.argsort(table.token, kind="stable")
    token = table.token[order]
    if (twice := np.flatnonzero(token[1:] == token[:-1])).size:
        raise RecordError(f"{table.name}: has token {token[twice[0]]:,} twice: give one loss a token")
    columns: dict[str, Any] = {name: getattr(table, name) for name in COLUMNS}
    return replace(table, **{name: column[order] for name, column in columns.items() if column is not None})


def _require_same_tokens(ours: LossTable, theirs: LossTable) -> None:
    if ours.text_sha256 and theirs.text_sha256 and ours.text_sha256 != theirs.text_sha256:
        raise RecordError(
            f"{theirs.name}: is of another text ({theirs.text_sha256[:8]}…) than {ours.name} "
            f"({ours.text_sha256[:8]}…): score the same text, with the same --part"
        )
    for name in ("token", "byte_start", "byte_end", "id"):
        mine, other = getattr(ours, name), getattr(theirs, name)
        if mine is None or other is None:
            continue
        count = min(len(mine), len(other))
        unlike = np.flatnonzero(mine[:count] != other[:count])
        if unlike.size:
            at = int(unlike[0])
            raise RecordError(
                f"{theirs.name}: scored token number {at + 1:,}: {name} is {other[at]:,}, in {ours.name} "
                f"{mine[at]:,}: the tables are not of the same tokens"
            )
        if len(mine) != len(other):
            raise RecordError(
                f"{theirs.name}: has {len(other):,} rows, {ours.name} {len(mine):,}: the tables are not of the same "
                "tokens"
            )


def _place(ours: LossTable, theirs: LossTable, at: int, text: bytes | None) -> TokenDifference:
    start, end = int(ours.byte_start[at]), int(ours.byte_end[at])
    excerpt = None
    if text is not None:
        ends = (max(start - _BEFORE, 0), start, end, end + _AFTER)
        before, token, after = (text[a:b].decode(errors="ignore") for a, b in pairwise(ends))
        excerpt = f"{before}«{token}»{after}"
    ids = ours.id if ours.id is not None else theirs.id
    return TokenDifference(
        token=int(ours.token[at]),
        byte_start=start,
        byte_end=end,
        id=None if ids is None else int(ids[at]),
        baseline=float(ours.nats[at]),
        candidate=float(theirs.nats[at]),
        text=excerpt,
    )
