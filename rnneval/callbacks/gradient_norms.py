"""`rnneval.GradientNorms`: norms of all gradients at every training step, and the first that is not finite."""

import atexit
import logging
import os
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnneval._version import __version__
from rnneval.callbacks import training_hook
from rnneval.callbacks.histories import Parts
from rnneval.callbacks.logs import chosen, require_known
from rnneval.callbacks.watched_optimizer import STATISTICS, Lines, WatchedOptimizer
from rnneval.errors import RecordError
from rnneval.metrics.gradient_norms import together
from rnneval.records.tables import GRADIENT_HISTORY

# As `STATISTICS`, which the optimizer measures, but with the ratio of update and weight norm for the update's norm.
WRITTEN = ("grad_norm", "grad_norm_clipped", "weight_norm", "update_ratio", "not_finite")
_NORM, _CLIPPED, _WEIGHT, _UPDATE, _BAD = range(len(STATISTICS))


class GradientNorms(keras.callbacks.Callback):
    """Write the norms of gradients in training: of every step, by variable, by layer and for the whole model.

    - `grad_norm`: L2 norm of the gradient that the optimizer is given, before clipping, any loss scale taken out;
    - `grad_norm_clipped`: after the optimizer's own clipping (absent in steps that only accumulate gradients);
    - `weight_norm`, and `update_ratio`: ‖change of the weights in this step‖ / ‖weights before it‖;
    - `not_finite`: how many numbers of the gradient are NaN or infinite.

    `path` becomes a *folder* of Parquet files, each written atomically: a killed run keeps all but the steps that were
    not written yet. pandas and pyarrow read the folder as one table with the columns `step`, `layer`, `variable`,
    `statistic` and `value`. Totals of a layer have the variable "", those of the model the layer "" and the variable
    "".

    `grad_norm` and `update_ratio` of the last step stand in `logs`, wherever this callback stands in the list; with
    logs="all" also `grad_norm_clipped`, `grad_not_finite` and `grad_norm/LAYER`.

    Example:
        `model.fit(…, callbacks=[rnneval.GradientNorms("grads.parquet")])`

        In a custom training loop, `with rnneval.GradientNorms("grads.parquet").watching(model, optimizer) as norms:`
        and `norms.collect()` after each step, or at least every 256: the buffer on the device holds as many. Older
        steps are overwritten, and counted in `norms.lost`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        steps_per_part: int = 100,
        existing: str = "refuse",
        logs: str | bool = "main",
    ) -> None:
        """Prepare a history.

        Args:
            path: The folder to be made.
            steps_per_part: Steps in one part: the most that a killed run loses.
            existing: Treatment of a history that is already there: `refuse`, `replace` or `append`.
            logs: Numbers of the last step to put into `logs`: `main` (`grad_norm` and `update_ratio`), `all` or `none`.

        Raises:
            RecordError: the folder cannot be made, or holds a history already with existing="refuse".
            UsageError: `existing` or `logs` is not known.
        """
        super().__init__()
        require_known(logs)
        self._parts = Parts(
            path, "step", {"rnneval.schema": GRADIENT_HISTORY, "rnneval.version": __version__}, existing
        )
        self._steps_per_part, self._logged = steps_per_part, logs
        self._watched: WatchedOptimizer | None = None
        self._waiting: list[Lines] = []
        self._steps_of_earlier_fits = 0
        self.lost = 0
        """Steps that were overwritten in the buffer before they were collected."""
        self.first_not_finite: tuple[int, str] | None = None
        """The first step with a gradient that is not finite, and `LAYER.VARIABLE`."""

    # Called by Keras: `set_model` and `on_train_end`; by `training_hook`: `begins` and `ends`.

    def set_model(self, model: Any) -> None:
        """Add the hook for the fit that begins."""
        super().set_model(model)
        self.close()
        training_hook.add(model, self)

    def begins(self, function: Any) -> Any:
        """Return a training function that watches the optimizer, and collects before any callback sees logs.

        Outside its calls the optimizer is as its author left it, however the training ends.
        """
        watched = self._watched = WatchedOptimizer(self.model, self.model.optimizer)
        _begun.add(self)

        def collecting(iterator: Any) -> Any:
            try:
                with watched.watching():
                    found = function(iterator)
            except (StopIteration, tf.errors.OutOfRangeError):  # the end of an epoch
                raise
            except BaseException:
                self._end()
                raise
            numbers = self.collect()
            return found | chosen(numbers, self._logged) if isinstance(found, dict) else found

        return collecting

    def ends(self) -> None:
        """Write the steps that are left: the fit has ended, or was broken off and another one begins."""
        self.close()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Write the steps that are left, and restore the model."""
        self._end()

    # For a custom training loop.

    @contextmanager
    def watching(self, model: Any, optimizer: Any = None) -> Iterator[Self]:
        """Watch an optimizer while the block runs; a `tf.function` that was traced before is not seen."""
        self._watched = WatchedOptimizer(model, model.optimizer if optimizer is None else optimizer)
        try:
            with self._watched.watching():
                yield self
        finally:
            self.close()

    def collect(self) -> dict[str, float]:
        """Fetch the steps since the last call, write a part if there are enough, return the last step's numbers.

        The numbers are those that `fit` has in `logs` with logs="all"; empty if there was no step.
        """
        if self._watched is None:
            return {}
        lines = self._watched.fetch()
        self.lost += lines.lost
        if not len(lines.steps):
            return {}
        self._waiting.append(lines)
        self._note_first_not_finite(lines)
        if sum(len(waiting.steps) for waiting in self._waiting) >= self._steps_per_part:
            self._write()
        return self._logs(lines)

    def close(self) -> None:
        """Write the steps that are left; a second call does nothing."""
        if self._watched is None:
            return
        self.collect()
        self._write()
        self._steps_of_earlier_fits += self._watched.fetched
        self._watched = None

    def __del__(self) -> None:
        """Close a training that was broken off and whose model was not used again."""
        if getattr(self, "_watched", None) is not None:
            self._close_unfinished()

    def _close_unfinished(self) -> None:
        """Close a training that was broken off. There is no caller to raise to: an error is logged in one line."""
        try:
            with tf.init_scope():  # the garbage collector may run while a graph is being made
                self.close()
        except RecordError as error:
            if self._parts.folder.is_dir():  # else it was removed, such as a temporary folder
                logging.getLogger(__name__).error("GradientNorms: %s", error)  # noqa: TRY400 - one line
        finally:
            self._watched = None

    def _end(self) -> None:
        training_hook.remove(self.model, self)
        self.close()

    def _write(self) -> None:
        """Write the collected steps as one part."""
        if not self._waiting or self._watched is None:
            return
        steps = np.concatenate([lines.steps for lines in self._waiting]) + self._steps_of_earlier_fits
        values = np.concatenate([lines.values for lines in self._waiting])
        self._waiting = []
        columns, numbers = _tidy([(c.layer, c.variable) for c in self._watched.columns], values)
        self._parts.describe(self._watched.described())
        self._parts.write(steps, columns, numbers)

    def _note_first_not_finite(self, lines: Lines) -> None:
        """Set `first_not_finite` at the first such gradient."""
        assert self._watched is not None  # noqa: S101 - checked by the caller
        bad = np.argwhere(lines.values[:, :, _BAD] > 0)
        if self.first_not_finite is None and len(bad):
            step, place = bad[0]
            column = self._watched.columns[place]
            self.first_not_finite = (
                int(lines.steps[step]) + self._steps_of_earlier_fits,
                f"{column.layer}.{column.variable}",
            )

    def _logs(self, lines: Lines) -> dict[str, float]:
        """Return the numbers of the last step, as they stand in `logs`."""
        assert self._watched is not None  # noqa: S101 - checked by the caller
        columns, numbers = _tidy([(c.layer, c.variable) for c in self._watched.columns], lines.values[-1:])
        last = dict(zip(columns, numbers[0].tolist(), strict=True))
        layers = dict.fromkeys(column.layer for column in self._watched.columns)
        return {
            "grad_norm": last["", "", "grad_norm"],
            "grad_norm_clipped": last["", "", "grad_norm_clipped"],
            "update_ratio": last["", "", "update_ratio"],
            "grad_not_finite": last["", "", "not_finite"],
            **{f"grad_norm/{layer}": last[layer, "", "grad_norm"] for layer in layers},
        }


_begun: weakref.WeakSet[GradientNorms] = weakref.WeakSet()
"""Callbacks whose fit has begun."""


@atexit.register  # after the import of TensorFlow, so that it runs before TensorFlow's own cleanup
def _close_all() -> None:
    """Close the trainings that were broken off: `__del__` comes too late for files when the interpreter ends."""
    for norms in tuple(_begun):
        norms._close_unfinished()


Key = tuple[str, str, str]


def _tidy(names: list[tuple[str, str]], values: NDArray[np.float64]) -> tuple[list[Key], NDArray[np.float64]]:
    """Return columns (layer, variable, statistic) and numbers `(n, columns)`: of variables, layers and the model."""
    columns: list[Key] = []
    numbers = []
    layers = list(dict.fromkeys(layer for layer, _ in names))
    members = {(layer, ""): [k for k, (owner, _) in enumerate(names) if owner == layer] for layer in layers}
    groups = {name: [k] for k, name in enumerate(names)} | members | {("", ""): list(range(len(names)))}
    for (layer, variable), places in groups.items():
        columns += [(layer, variable, statistic) for statistic in WRITTEN]
        numbers += _group(values[:, places])
    return columns, np.stack(numbers, axis=1)


def _group(part: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return the written statistics of some variables together, `(n,)` each.

    A variable without a gradient counts as 0; if none has a gradient, the statistics are NaN.
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        seen = ~np.isnan(part[:, :, _WEIGHT])
        norms = [together(np.where(seen, part[:, :, k], 0.0)) for k in (_NORM, _CLIPPED, _WEIGHT, _UPDATE)]
        bad = np.where(seen, part[:, :, _BAD], 0.0).sum(1)
        found = [*norms[:3], norms[3] / norms[2], bad]
    return [np.where(seen.any(axis=1), numbers, np.nan) for numbers in found]
