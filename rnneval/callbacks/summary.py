"""What a history of gradients says in short, for the rules that look at it."""

import os

import numpy as np

from rnneval.errors import RecordError
from rnneval.metrics.diagnostics.findings import History
from rnneval.records import read_table

_BEFORE, _AT_LEAST = 100, 3


def history(folder: str | os.PathLike[str]) -> History:
    """Read a history that `GradientNorms` wrote.

    Raises:
        RecordError: there is none, or it cannot be read.
    """
    try:
        table = read_table(folder).to_pandas()
        table = table[table["statistic"].isin(["grad_norm", "not_finite"])]
    except KeyError as error:
        raise RecordError(f"{os.fspath(folder)}: not a history of gradients: it has no column {error}") from error
    norm = table[(table["layer"] == "") & (table["statistic"] == "grad_norm")].sort_values("step")
    if norm.empty:
        raise RecordError(f"{os.fspath(folder)}: a history without a single gradient that is finite")
    before = norm["value"].rolling(_BEFORE, min_periods=_AT_LEAST).median().shift(1).to_numpy()
    ratio = np.nan_to_num(norm["value"].to_numpy() / before)
    bad = table[(table["statistic"] == "not_finite") & (table["value"] > 0) & (table["variable"] != "")].sort_values(
        "step"
    )
    first = None if bad.empty else bad.iloc[0]
    return History(
        steps=int(table["step"].max()),
        median_norm=float(norm["value"].median()),
        largest_ratio=float(ratio.max()),
        largest_step=int(norm["step"].iloc[int(ratio.argmax())]),
        first_not_finite=None if first is None else int(first["step"]),
        variable="" if first is None else f"{first['layer']}.{first['variable']}",
    )
