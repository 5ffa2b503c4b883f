"""Gradients and states in training with Keras: `rnneval.GradientNorms` and `rnneval.StateNorms`.

Both change the model for one fit. `fit` tells callbacks when it begins, but not that it was broken off: an exception in
another callback or an interrupt between two steps ends it without `on_train_end`. So a callback that changes a model
hooks into `make_train_function`, which every fit and every `train_on_batch` calls. The first call after a hook was
added belongs to its own fit. A later call belongs to another fit, and removes the hook before anything is trained. A
forced call, by which a fit learns that a layer was frozen, belongs to the same fit: the hook begins again.

`WatchedOptimizer` measures gradients inside the graph of the training step. `optimizer.apply` is replaced on the
instance inside a block, and at no other time. Every training step calls it: Keras' own, a custom `train_step`, a custom
loop, compiled by XLA or not. The numbers of each step go into one line of a ring buffer, a variable on the device, and
are fetched later: so many steps may run in one call (`steps_per_execution`), and no step waits for the host.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnneval.callbacks.histories import (
    NO_NORM,
    STATISTICS,
    GradientTable,
    StateNormsOptions,
    StateTable,
    chosen,
    require_logs,
)
from rnneval.models.keras.layers import LayerVariable, layer_variables, model_variables, overridden
from rnneval.models.protocol import LanguageModel
from rnneval.models.wrapping import language_model
from rnneval.options import by_keyword
from rnneval.records.run import Run
from rnneval.text import Paths

_MAKER = "make_train_function"
_LOGS = "_get_metrics_result_or_logs"
_RING = 256  # steps that the buffer holds; older ones are overwritten


class HookedCallback(keras.callbacks.Callback):
    """A callback that changes a model for one fit."""

    def set_model(self, model: Any) -> None:
        """Add the hook for the fit that begins."""
        super().set_model(model)
        self.ends()  # one that was broken off
        hooked = vars(model).get(_MAKER)
        if isinstance(hooked, _HookedFunction) and hooked.begun:
            hooked.remove()
        if not isinstance(hooked, _HookedFunction) or hooked.begun:
            hooked = vars(model)[_MAKER] = _HookedFunction(model)  # past Keras' tracking of attributes
        hooked.hooks[id(self)] = self

    def begins(self, function: Any) -> Any:
        """Take the training function of this fit, and return the one to use in its place."""
        raise NotImplementedError

    def ends(self) -> None:
        """Restore the model: the fit has ended, or was broken off; a second call does nothing."""
        raise NotImplementedError

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Restore the model, and write what is left."""
        hooked = vars(self.model).get(_MAKER)
        if isinstance(hooked, _HookedFunction):
            hooked.remove()
        self.ends()


class _HookedFunction:
    """Replacement of a model's `make_train_function` for one fit."""

    def __init__(self, model: Any) -> None:
        self.model, self.original = model, getattr(model, _MAKER)
        self.was_own = _MAKER in vars(model)  # whether the model itself had the attribute, and not only its class
        self.hooks: dict[int, HookedCallback] = {}
        self.begun = False

    def __call__(self, force: bool = False) -> Any:
        if self.begun and not force:  # another fit
            self.remove()
            return self.original(force)
        for hook in self.hooks.values():  # of a forced call: they begin again
            hook.ends()
        self.begun = True
        self.model.train_function = None  # one that was made without the hooks
        made = self.original(force)
        try:
            for hook in self.hooks.values():
                self.model.train_function = hook.begins(self.model.train_function)
        except BaseException:
            self.remove()
            raise
        return made

    def remove(self) -> None:
        """Restore the model; the next use makes another training function."""
        self.model.train_function = None
        if self.was_own:
            vars(self.model)[_MAKER] = self.original
        else:
            del vars(self.model)[_MAKER]
        for hook in self.hooks.values():
            hook.ends()


class WatchedOptimizer:
    """Optimizer of a model, watched inside a block in which the training step is traced or run."""

    def __init__(self, model: Any, optimizer: Any) -> None:
        self._model, self._optimizer = model, optimizer
        self.columns: tuple[LayerVariable, ...] = ()  # the trainable variables, known from the first step on
        self._places: dict[int, int] = {}  # by the id of a variable: its index in `columns`
        self._lines: Any = None
        self._count: Any = None
        self.fetched = 0  # steps that were fetched so far
        self.lost = 0  # steps that were overwritten in the ring before the last fetch

    def watching(self) -> AbstractContextManager[None]:
        """Watch the optimizer's `apply` while the block runs.

        Where all is built, the ring buffer is made before the step is traced: a function whose first trace makes
        variables is traced twice.
        """
        if self._model.built and self._optimizer.built:
            self._make_ready(self._optimizer._trainable_variables)
        return overridden(self._optimizer, "apply", self._apply_beside(self._optimizer.apply))

    def fetch(self) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
        """Return the numbers `(n,)` of the steps since the last call, from 1, and their statistics; None without steps.

        The statistics are `(n, variables, statistics)`, NaN where there is none.
        """
        count = 0 if self._count is None else int(self._count.numpy())
        if count == self.fetched:
            return None
        first = max(self.fetched, count - _RING)
        steps, self.lost, self.fetched = np.arange(first, count), first - self.fetched, count
        return steps + 1, tf.gather(self._lines, steps % _RING).numpy().astype(np.float64)

    def _apply_beside(self, original: Any) -> Any:
        """Return an `apply` that measures the step which the original `apply` makes."""

        def apply(grads: Any, trainable_variables: Any = None) -> Any:
            grads = list(grads)
            every = list(self._optimizer._trainable_variables if trainable_variables is None else trainable_variables)
            self._make_ready(every)
            seen = {
                self._places[id(v)]: (g, v)
                for g, v in zip(grads, every, strict=True)
                if g is not None and id(v) in self._places
            }
            variables = [v for _, v in seen.values()]
            inner, scale = _unwrapped(self._optimizer)
            unscaled = [_divided(g, scale) for g, _ in seen.values()]
            given, before = [_plain(grad) for grad in unscaled], [_plain(v) for v in variables]
            clipped = _clipped_norms(inner, unscaled, variables)
            result = original(grads, trainable_variables)
            updates = [_plain(v) - w for v, w in zip(variables, before, strict=True)]
            bad = [tf.cast(tf.math.count_nonzero(~tf.math.is_finite(grad)), tf.float32) for grad in given]
            statistics = (_norms(given), clipped, _norms(before), _norms(updates), bad)
            self._write([*seen], tf.transpose(tf.stack([tf.stack(column) for column in statistics])))
            return result

        return apply

    def _make_ready(self, variables: Sequence[Any]) -> None:
        """Build the optimizer as its `apply` would (a loss scale is made there), and make the ring buffer."""
        if not self._optimizer.built:
            self._optimizer.build(variables)
        if self._lines is not None:
            return
        self.columns = layer_variables(self._model)
        for place, column in enumerate(self.columns):
            self._places |= {id(column.tensor): place, id(getattr(column.tensor, "value", column.tensor)): place}
        with tf.init_scope():
            self._lines = tf.Variable(tf.zeros([_RING, len(self.columns), len(STATISTICS)]), trainable=False)
            self._count = tf.Variable(0, dtype=tf.int64, trainable=False)

    def _write(self, places: Sequence[int], numbers: Any) -> None:
        """Write one line of the ring: the statistics `(variables, statistics)` of the variables at these places."""
        empty = tf.fill([len(self.columns), len(STATISTICS)], tf.constant(np.nan, tf.float32))
        line = tf.tensor_scatter_nd_update(empty, [[place] for place in places], numbers) if places else empty
        here = tf.equal(tf.range(_RING, dtype=tf.int64), self._count % _RING)
        self._lines.assign(tf.where(here[:, None, None], line[None], self._lines))
        self._count.assign_add(1)


def _unwrapped(optimizer: Any) -> tuple[Any, Any]:
    """Return the optimizer that clips, and the loss scale of the gradients that come in."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return optimizer.inner_optimizer, tf.cast(tf.convert_to_tensor(optimizer.dynamic_scale), tf.float32)
    return optimizer, tf.constant(float(optimizer.loss_scale_factor or 1.0), tf.float32)


def _clipped_norms(inner: Any, gradients: Sequence[Any], variables: Sequence[Any]) -> list[Any]:
    """Return the norms of the clipped gradients; `NO_NORM` in a step that only accumulates.

    Slices of an embedding are clipped as slices, as the optimizer does it: by a norm in which the slices of an id that
    occurs twice are not added up.
    """
    every = inner.gradient_accumulation_steps
    if not every:
        return _norms(inner._clip_gradients(list(gradients)))
    held = [inner._accumulated_gradients[inner._get_variable_index(variable)] for variable in variables]
    mean = [(_plain(grad) + _plain(before)) / every for grad, before in zip(gradients, held, strict=True)]
    steps = tf.equal((tf.convert_to_tensor(inner._iterations) + 1) % every, 0)
    return [tf.where(steps, norm, NO_NORM) for norm in _norms(inner._clip_gradients(mean))]


def _norms(tensors: Sequence[Any]) -> list[Any]:
    return [tf.norm(_plain(tensor)) for tensor in tensors]


def _divided(grad: Any, scale: Any) -> Any:
    if isinstance(grad, tf.IndexedSlices):
        return tf.IndexedSlices(_plain(grad.values) / scale, grad.indices, grad.dense_shape)
    return _plain(grad) / scale


def _plain(grad: Any) -> Any:
    """Return a gradient or variable as a float32 tensor: the slices of an embedding are added up."""
    return tf.cast(tf.convert_to_tensor(grad), tf.float32)


class GradientNorms(HookedCallback):
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
        self, path: str | os.PathLike[str], *, steps_per_part: int = 100, existing: str = "refuse", logs: str = "main"
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
        require_logs(logs)
        self._logs = logs
        self._table = GradientTable(path, steps_per_part, existing)
        self._watched: WatchedOptimizer | None = None
        self._steps_of_earlier_fits = 0
        self.lost = 0
        """Steps that were overwritten in the buffer before they were collected."""

    @property
    def first_not_finite(self) -> tuple[int, str] | None:
        """The first step with a gradient that is not finite, and `LAYER.VARIABLE`."""
        return self._table.first_not_finite

    def begins(self, function: Any) -> Any:
        """Return a training function that watches the optimizer, and collects before any callback sees logs.

        Outside its calls the optimizer is as its author left it, however the training ends.
        """
        watched = self._watched = WatchedOptimizer(self.model, self.model.optimizer)

        def collecting(iterator: Any) -> Any:
            with watched.watching():
                found = function(iterator)
            numbers = self.collect()
            return found | chosen(numbers, self._logs) if isinstance(found, dict) else found

        return collecting

    def ends(self) -> None:
        """Write the steps that are left."""
        self.close()

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
        if self._watched is None or (fetched := self._watched.fetch()) is None:
            return {}
        steps, values = fetched
        self.lost += self._watched.lost
        columns = [(each.layer, each.variable) for each in self._watched.columns]
        return self._table.add(columns, steps + self._steps_of_earlier_fits, values)

    def close(self) -> None:
        """Write the steps that are left; a second call does nothing."""
        if (watched := self._watched) is not None:
            self.collect()
            self._table.flush()
            self._steps_of_earlier_fits += watched.fetched
            self._watched = None


class StateNorms(HookedCallback):
    """Evaluate the model on held-out text at the end of each epoch, exactly, with the state carried.

    For each epoch it writes the scores (layer and variable "") and, for each state, every number of the state summary
    of a run record. `path` becomes a *folder* of Parquet files, one for each epoch, each written atomically.

    The wiring is checked once, when the first fit begins: a second or two. A model that fails is warned about; its
    history says so, and figures, reports and gates take none of its numbers for a result. What they are then depends on
    the length of a segment: 100 tokens unless `segment` says otherwise. With check=False nothing is checked.

    A training run that diverges goes on: a number that an epoch does not have, because weights or losses are not
    finite or a perplexity is larger than any float, is written as NaN.

    `heldout_perplexity` stands in `logs`, wherever this callback stands in the list; with logs="all" also
    `heldout_cross_entropy`, `heldout_bits_per_char`, and `LAYER.SLOT/norm_mean`, … of every state.

    A vocabulary need not be given where the model holds one (a StringLookup or TextVectorization layer as wide as its
    output).

    Example:
        `model.fit(…, callbacks=[rnneval.StateNorms("states.parquet", "held_out.txt", vocabulary=tokens)])`
    """

    @by_keyword(StateNormsOptions)
    def __init__(self, path: str | os.PathLike[str], text: Paths | None = None, *, options: StateNormsOptions) -> None:
        """Prepare a history.

        Args:
            path: The folder to be made.
            text: Held-out text: one or more files; or give `string`.
            options: Keyword arguments, each a field of `StateNormsOptions`.

        Raises:
            VocabularyError: the vocabulary cannot be read (or, when a fit begins: none was given, and the model holds
                none).
            TextError: the text is missing, empty or not UTF-8.
            RecordError: the folder cannot be made, or holds a history already with existing="refuse".
            UsageError: an option is not known, or its value is not allowed.
        """
        super().__init__()
        self._table, self._logs = StateTable(path, text, options), options.logs
        self._due: int | None = None  # the epoch to be measured

    @property
    def runs(self) -> list[Run]:
        """The run record of every epoch whose weights are finite."""
        return self._table.runs

    def begins(self, function: Any) -> Any:
        """Find the vocabulary, hook into the function that makes the logs of an epoch, return `function` unchanged.

        Keras has no public hook between the last step of an epoch and the first `on_epoch_end`, when the number of
        steps is not known. Without this one, callbacks before this one in the list do not see its numbers.
        """
        if (lm := self._language_model()) is not None:
            self._table.check(lm)
        original = getattr(self.model, _LOGS, None)
        if original is None or self._logs == "none":
            return function

        def with_ours(logs: Any) -> Any:
            result = original(logs)
            numbers = self._measure()
            return {**result, **numbers} if numbers and isinstance(result, dict) else result

        self.model.__dict__[_LOGS] = with_ours  # past Keras' tracking of attributes
        return function

    def ends(self) -> None:
        """Restore the model."""
        self.model.__dict__.pop(_LOGS, None)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Remember that this epoch is to be measured."""
        self._due = epoch + 1  # as Keras prints it

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Evaluate now if the hook on the logs did not."""
        numbers = self._measure()
        if logs is not None:
            logs.update(numbers)

    def _language_model(self) -> LanguageModel | None:
        """Return the model as it is now; None if a weight is not finite: it cannot be evaluated."""
        weights = (tf.cast(variable, tf.float32) for variable in model_variables(self.model))
        if not all(bool(tf.reduce_all(tf.math.is_finite(weight))) for weight in weights):
            return None
        return language_model(self.model, self._table.vocabulary, "StateNorms")

    def _measure(self) -> dict[str, float]:
        """Evaluate if this epoch is still to be measured, and return the numbers for `logs`; else return none.

        The first call is for the epoch itself, later calls are for its validation.
        """
        if self._due is None:
            return {}
        epoch, self._due = self._due, None
        return self._table.add(epoch, self._language_model())
