"""Gradients and states in training with PyTorch: a plain loop, Lightning, or the Trainer of transformers.

Gradients are measured where autograd has put them into `param.grad`, before anything clips them, and again where the
optimizer has made its step; the weights are compared before and after it. The hooks are public ones of PyTorch, and are
taken off at the end. Numbers stay on the device until some steps are fetched together.
"""

import math
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from rnneval.callbacks.histories import NO_NORM, STATISTICS, GradientTable, StateNormsOptions, StateTable
from rnneval.errors import UsageError
from rnneval.models.protocol import LanguageModel
from rnneval.models.torch.module import StepOfModule, from_torch, require_module
from rnneval.models.wrapping import language_model
from rnneval.options import by_keyword
from rnneval.records.run import Run
from rnneval.text import Paths

_FETCHED = 16  # steps whose numbers are fetched from the device together
_PART = 1e-6  # of an epoch: Trainer adds up its share by step, and rounds
_COMPILED = "_orig_mod."  # what `torch.compile` puts before the names of parameters


class _History:
    """A history that a plain loop, Lightning and the Trainer of transformers write alike."""

    _unit: ClassVar[str]  # "step" or "epoch": at its end the libraries call `_end`

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the model as it was, and write what is left; a second call does nothing."""
        raise NotImplementedError

    def _end(self, epoch: Callable[[], int]) -> dict[str, float]:
        """End a step or an epoch, whose number `epoch` returns; return the numbers for the library's logs."""
        raise NotImplementedError

    @classmethod
    def for_trainer(cls, *arguments: Any, **options: Any) -> Any:
        """Return a `TrainerCallback` of transformers, which watches the model that the Trainer trains.

        Numbers for the logs get a line of `state.log_history`, and stand in the next `logs` that callbacks behind this
        one are given.

        Args:
            arguments: The arguments of the class behind `model`.
            options: Its keyword arguments.

        Raises:
            UsageError: transformers is not installed.
        """
        watching: Callable[..., Any] = cls

        def begins(self: Any, *_: Any, model: torch.nn.Module, **__: Any) -> None:
            self.norms, self.numbers = watching(model, *arguments, **options).__enter__(), {}

        def ends_unit(self: Any, _: Any, state: Any, *__: Any, **___: Any) -> None:
            self.numbers = self.norms._end(lambda: math.ceil(state.epoch - _PART))
            if self.numbers:
                state.log_history.append({**self.numbers, "epoch": state.epoch, "step": state.global_step})

        def logged(self: Any, *_: Any, logs: dict[str, Any], **__: Any) -> None:
            logs |= self.numbers
            self.numbers = {}

        def ends(self: Any, *_: Any, **__: Any) -> None:
            self.norms.close()

        methods = {"on_train_begin": begins, f"on_{cls._unit}_end": ends_unit, "on_log": logged, "on_train_end": ends}
        return type(f"{cls.__name__}Callback", (_imported("transformers").TrainerCallback,), methods)()

    @classmethod
    def for_lightning(cls, *arguments: Any, **options: Any) -> Any:
        """Return a `Callback` of Lightning, which watches the LightningModule that is trained.

        Numbers for the logs are logged as `log_dict` does it, so that others can monitor them.

        Args:
            arguments: The arguments of the class behind `model`.
            options: Its keyword arguments.

        Raises:
            UsageError: Lightning is not installed.
        """
        watching: Callable[..., Any] = cls

        def begins(self: Any, _: Any, module: Any) -> None:
            self.norms = watching(module, *arguments, **options).__enter__()

        def ends_unit(self: Any, trainer: Any, module: Any, *_: Any) -> None:
            if numbers := self.norms._end(lambda: trainer.current_epoch + 1):
                module.log_dict(numbers, prog_bar=True)

        def ends(self: Any, *_: Any) -> None:
            self.norms.close()

        unit = {"step": "batch", "epoch": "epoch"}[cls._unit]
        methods = {"on_train_start": begins, f"on_train_{unit}_end": ends_unit, "on_train_end": ends}
        base = _imported("lightning.pytorch", "pytorch_lightning").Callback
        return type(f"{cls.__name__}Callback", (base,), methods)()


class GradientNorms(_History):
    """Write the norms of gradients of every training step: by parameter, by module and for the whole model.

    - `grad_norm`: L2 norm of the gradient before clipping, a loss scale taken out (give `scaler`). That of the model is
      what `torch.nn.utils.clip_grad_norm_` returns.
    - `grad_norm_clipped`: of the gradient that the optimizer took;
    - `weight_norm`, and `update_ratio`: ‖change of the weights in this step‖ / ‖weights before it‖;
    - `not_finite`: how many numbers of the gradient are NaN or infinite.

    A step may accumulate several backward passes. Parameters that get no gradient, such as frozen ones, are left out of
    that step. `path` becomes a folder of Parquet parts, the same as that of the callback for Keras.

    Example:
        >>> import tempfile, pathlib, pandas
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> folder = pathlib.Path(tempfile.mkdtemp(), "grads.parquet")
        >>> with GradientNorms(model, folder) as norms:
        ...     for _ in range(3):
        ...         model(torch.tensor([[3.0, 4.0]])).sum().backward()
        ...         optimizer.step()
        ...         optimizer.zero_grad()
        ...         norms.step()
        >>> table = pandas.read_parquet(folder)
        >>> table[(table.layer == "") & (table.statistic == "grad_norm")].value.tolist()
        [5.0, 5.0, 5.0]

        With the Trainer of transformers, `callbacks=[GradientNorms.for_trainer("grads.parquet")]`; with Lightning,
        `Trainer(callbacks=[GradientNorms.for_lightning("grads.parquet")])`.
    """

    _unit = "step"

    def __init__(
        self,
        model: torch.nn.Module,
        path: str | os.PathLike[str],
        *,
        scaler: Any = None,
        steps_per_part: int = 100,
        existing: str = "refuse",
    ) -> None:
        """Prepare a history.

        Args:
            model: The module that is trained.
            path: The folder to be made.
            scaler: The `torch.amp.GradScaler` of the loop, if there is one.
            steps_per_part: Steps in one part: the most that a killed run loses.
            existing: Treatment of a history that is already there: `refuse`, `replace` or `append`.

        Raises:
            RecordError: the folder cannot be made, or holds a history already with existing="refuse".
            UsageError: `existing` is not known, or the model is no module or has no parameter.
        """
        if not isinstance(model, torch.nn.Module):
            raise UsageError(f"GradientNorms: the model is a {type(model).__name__}: give a torch.nn.Module")
        named = {name.replace(_COMPILED, ""): parameter for name, parameter in model.named_parameters()}
        if not named:
            raise UsageError(f"GradientNorms: {type(model).__name__} has no parameter: there is no gradient to measure")
        places = (name.rpartition(".")[::2] for name in named)
        self._columns = [(module or type(model).__name__, parameter) for module, parameter in places]
        self._parameters = list(named.values())
        self._places = {id(parameter): place for place, parameter in enumerate(self._parameters)}
        self._scaler = scaler
        self._table = GradientTable(path, steps_per_part, existing)
        self._handles: list[Any] = []
        self._weights: dict[int, torch.Tensor] = {}  # of the optimizer's step that is under way
        self._line: dict[int, dict[str, torch.Tensor]] = {}  # by place: the numbers of this step, on the device
        self._scale, self._stepped, self._steps = 1.0, False, 0
        self._pending: list[Any] = []  # lines of steps that were not fetched yet, `(variables, statistics)`

    @property
    def first_not_finite(self) -> tuple[int, str] | None:
        """The first step with a gradient that is not finite, and `MODULE.PARAMETER`, among the steps fetched so far."""
        return self._table.first_not_finite

    def __enter__(self) -> Self:
        """Watch gradients and optimizers from here on."""
        self._handles = [
            register_optimizer_step_pre_hook(self._before), register_optimizer_step_post_hook(self._after),
        ]  # fmt: skip
        for place, parameter in enumerate(self._parameters):
            if parameter.is_floating_point() or parameter.is_complex():
                requires_grad = parameter.requires_grad
                hook = partial(self._accumulated, place)
                # A parameter that is frozen now may be thawed later.
                self._handles.append(parameter.requires_grad_().register_post_accumulate_grad_hook(hook))
                parameter.requires_grad_(requires_grad)
        return self

    def close(self) -> None:
        """Take the hooks off, and write the steps that are left; a second call does nothing."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._fetch()
        self._table.flush()

    def step(self) -> None:
        """End a step: call it after the optimizer's, or where a GradScaler may have left that out.

        Backward passes that no optimizer has used yet belong to the next step, unless a gradient is not finite.
        """
        if not self._handles:
            raise UsageError(
                "GradientNorms: watches nothing yet: with GradientNorms(model, path) as norms: … norms.step()"
            )
        line = self._line
        if line and (self._stepped or not all(bool(n["grad_norm"].isfinite()) for n in line.values())):
            self._steps += 1
            self._pending.append(self._numbers())
            self._line, self._stepped = {}, False
            if len(self._pending) >= _FETCHED:
                self._fetch()

    def _accumulated(self, place: int, parameter: torch.Tensor) -> None:
        """Measure a gradient that autograd has just added to; of several backward passes the last one stays."""
        gradient = _values(parameter.grad)
        not_finite = torch.count_nonzero(gradient - gradient)  # NaN where one is not finite: faster than isfinite
        self._line[place] = {"grad_norm": _norm(gradient), "not_finite": not_finite.float()}

    def _before(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        """Keep the weights with which an optimizer begins its step; a closure may still make the gradients."""
        if self._scaler is not None:
            self._scale = float(self._scaler.get_scale())
        parameters = (each for group in optimizer.param_groups for each in group["params"])
        places = (self._places.get(id(parameter)) for parameter in parameters)
        self._weights = {place: self._parameters[place].detach().clone() for place in places if place is not None}

    def _after(self, *_: object) -> None:
        """Measure the gradients that the optimizer took, the weights, and their change."""
        for place, weights in self._weights.items():
            parameter = self._parameters[place]
            if place in self._line and parameter.grad is not None:
                self._stepped = True
                self._line[place] |= {
                    "grad_norm_clipped": _norm(_values(parameter.grad)),
                    "weight_norm": _norm(weights),
                    "update_norm": _norm(parameter.detach() - weights),
                }
        self._weights = {}

    def _numbers(self) -> torch.Tensor:
        """Return the statistics of this step, `(variables, statistics)`, NaN where there is none."""
        device = self._parameters[0].device
        numbers = torch.full((len(self._columns), len(STATISTICS)), torch.nan, device=device)
        for place, known in self._line.items():
            missing = {
                "grad_norm_clipped": torch.tensor(NO_NORM),
                "weight_norm": _norm(self._parameters[place].detach()),
                "update_norm": torch.tensor(0.0),
            }
            every = {**missing, **known, "grad_norm": known["grad_norm"] / self._scale}
            numbers[place] = torch.stack([every[name].to(device) for name in STATISTICS])
        return numbers

    def _fetch(self) -> None:
        """Hand the numbers of some steps to the table."""
        if self._pending:
            values = torch.stack(self._pending).double().cpu().numpy()
            self._table.add(self._columns, np.arange(self._steps - len(values), self._steps) + 1, values)
            self._pending = []

    def _end(self, epoch: Callable[[], int]) -> dict[str, float]:
        self.step()
        return {}


class StateNorms(_History):
    """Evaluate the model on held-out text after each epoch, exactly, with the state carried.

    For each epoch it writes the scores (layer and variable "") and, for each state, every number of the state summary
    of a run record. `path` becomes a folder of Parquet files, one for each epoch, as that of the callback for Keras.
    The wiring is checked once, when the training begins; with check=False nothing is checked.

    Training goes on as without the callback: modules are put back into their modes, and no random number generator is
    advanced. A number that an epoch does not have, because weights or losses are not finite, is written as NaN.

    Call `epoch` after each epoch in a `with` block. With the Trainer of transformers,
    `callbacks=[StateNorms.for_trainer("states.parquet", "held_out.txt", vocabulary=tokenizer)]`; with Lightning,
    `Trainer(callbacks=[StateNorms.for_lightning("states.parquet", "held_out.txt", vocabulary=tokens)])`.
    """

    _unit = "epoch"

    @by_keyword(StateNormsOptions)
    def __init__(
        self,
        model: torch.nn.Module,
        path: str | os.PathLike[str],
        text: Paths | None = None,
        *,
        wrap: StepOfModule | None = None,
        options: StateNormsOptions,
    ) -> None:
        """Prepare a history.

        Args:
            model: The module that is trained, as `rnneval.wrap` takes it.
            path: The folder to be made.
            text: Held-out text: one or more files; or give `string`.
            wrap: Function of (module, ids, state) that returns logits and the new state, as `step` of
                `rnneval.from_torch`, for a module that is called in another way.
            options: Keyword arguments, each a field of `StateNormsOptions`.

        Raises:
            VocabularyError: the vocabulary cannot be read (or, when the block begins: none was given).
            TextError: the text is missing, empty or not UTF-8.
            RecordError: the folder cannot be made, or holds a history already with existing="refuse".
            UsageError: the model is no module, an option is not known, or its value is not allowed.
        """
        require_module(model, "callbacks.torch.StateNorms", "give the module that is trained")
        self._model, self._wrap, self._epochs = model, wrap, 0
        self._table = StateTable(path, text, options)

    @property
    def runs(self) -> list[Run]:
        """The run record of every epoch whose weights are finite."""
        return self._table.runs

    def __enter__(self) -> Self:
        """Check the wiring of the model."""
        with _undisturbed(self._model):
            if (lm := self._language_model()) is not None:
                self._table.check(lm)
        return self

    def close(self) -> None:
        """Do nothing: each epoch was written at its end."""

    def epoch(self, number: int | None = None) -> dict[str, float]:
        """End an epoch: evaluate the model, write its numbers, and return those that `logs` asks for.

        `number` is that of the epoch, by default the next one.
        """
        self._epochs = self._epochs + 1 if number is None else number
        with _undisturbed(self._model):
            return self._table.add(self._epochs, self._language_model())

    def _end(self, epoch: Callable[[], int]) -> dict[str, float]:
        return self.epoch(epoch())

    def _language_model(self) -> LanguageModel | None:
        """Return the model as it is now; None if a weight is not finite: it cannot be evaluated."""
        if not all(bool(parameter.isfinite().all()) for parameter in self._model.parameters()):
            return None
        if self._wrap is not None:
            return from_torch(self._model, self._wrap, vocabulary=self._table.vocabulary)
        return language_model(self._model, self._table.vocabulary, "StateNorms")


@contextmanager
def _undisturbed(model: torch.nn.Module) -> Iterator[None]:
    """Put the modes of modules and the states of all generators of random numbers back when the block ends."""
    modes = {module: module.training for module in model.modules()}
    devices = {parameter.device for parameter in model.parameters() if parameter.device.type != "cpu"}
    kind = next((device.type for device in devices), "cuda")
    plain, arrays = random.getstate(), np.random.get_state()  # noqa: NPY002 - what a model itself may draw from
    try:
        with torch.random.fork_rng([device.index or 0 for device in devices], device_type=kind):
            yield
    finally:
        random.setstate(plain)
        np.random.set_state(arrays)  # noqa: NPY002
        for module, mode in modes.items():
            module.training = mode


def _imported(*modules: str) -> Any:
    """Return the first of some modules that is installed."""
    for name in modules:
        try:
            return import_module(name)
        except ModuleNotFoundError:
            continue
    package = modules[0].partition(".")[0]
    raise UsageError(f"{package} is not installed, and this callback is one of its own: pip install {package}")


def _values(gradient: torch.Tensor | None) -> torch.Tensor:
    """Return the numbers of a gradient; the rows of a sparse one that belong to one id are added up."""
    assert gradient is not None  # noqa: S101 - autograd has just made it
    gradient = gradient.detach()
    return gradient.coalesce().values() if gradient.is_sparse else gradient


def _norm(tensor: torch.Tensor) -> torch.Tensor:
    """Return the L2 norm, in float32 at least; of complex numbers that of their absolute values."""
    kind = torch.float32 if tensor.dtype in {torch.float16, torch.bfloat16} else None
    return torch.linalg.vector_norm(tensor, dtype=kind).float()
