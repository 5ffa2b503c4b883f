"""`from_torch`: a language model of a PyTorch module.

The module is called in evaluation mode and without gradients; afterwards it is as it was. The state that it is given is
a copy, so that a module may change its state in place. What a call changes in the module itself, such as a buffer that
holds the state, is taken out after the call and put back before the next one.
"""

import copy
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from rnneval.errors import CheckpointError, UsageError, type_and_message
from rnneval.models.protocol import about_transformer
from rnneval.models.state import filled, is_array, leaves_of
from rnneval.models.step import StepLM, from_step
from rnneval.models.torch.forward import Form, Forward
from rnneval.models.torch.recurrent import RecurrentModules
from rnneval.text import Vocabulary, given_vocabulary

_DYNAMIC_INT8 = re.compile(r"quantized::\w*dynamic|aten::quantized_(lstm|gru)")  # operators of TorchScript
_TRIED = (2, 3)  # rows and tokens of the call that finds the number of logits
StepOfModule = Callable[[torch.nn.Module, torch.Tensor, Any], tuple[torch.Tensor, Any]]


@dataclass(frozen=True, kw_only=True)
class ModuleState:
    """A state of which a part is held by the module."""

    returned: Any  # the state that the step returned
    attributes: Mapping[str, Any]  # attributes of the module, by path


class TimeFirstError(CheckpointError):
    """A module takes ids `(time, batch)`, and was said to take `(batch, time)`."""


class TorchStep:
    """A step of a PyTorch module: ids and a state in, logits and a state out."""

    def __init__(self, module: torch.nn.Module, step: StepOfModule | None = None, *, time_first: bool = False) -> None:
        """Take a module; `step(module, ids, state)` returns logits and the new state, and by default calls it.

        A module that is `time_first` takes ids `(time, batch)`.
        """
        self.called = module
        self.module: torch.nn.Module = getattr(module, "_orig_mod", module)
        """The module; the one that `torch.compile` was given, if that is called."""
        self._given, self._forward = step, Forward(self.module, Form(time_first=time_first))
        self._is_found = step is not None  # whether it is known how the module is called
        self.stateless = step is None and not self._forward.takes_state
        self._held: dict[str, Any] = {}
        """The attributes that a call changes, by path, as they were before the first call."""
        self.keeps_all = False  # whether the state is in the module alone, and nothing is returned

    def __call__(self, ids: NDArray[np.int32], state: Any) -> tuple[Any, Any]:
        """Read ids `(rows, time)` from a state, which stays as it is; return logits `(rows, time, V)` and a state."""
        with self.evaluating():
            return self.read(ids, state)

    def last(self, ids: NDArray[np.int32], state: Any = None) -> tuple[Any, Any]:
        """Do as a call does, with a state that is not needed any more: the module may change it."""
        with self.evaluating():
            return self.read(ids, state, copied=False)

    def read(self, ids: NDArray[np.int32], state: Any, *, copied: bool = True) -> tuple[Any, Any]:
        """Do as a call does, in the mode in which the module is: gradients may be followed to the state."""
        tokens = torch.as_tensor(np.asarray(ids), dtype=torch.long, device=self.device)
        given = copy_of(state) if copied else state
        if not self._held:
            logits, after = self._call(tokens, given, begins=state is None)
            return logits, after
        with self.holding(None if state is None else given.attributes):
            returned = self._call(tokens, None if state is None else given.returned, begins=state is None)
            logits, returned = (returned, None) if torch.is_tensor(returned) else returned
            return logits, ModuleState(returned=returned, attributes=self.attributes())

    def _call(self, tokens: torch.Tensor, state: Any, *, begins: bool) -> Any:
        """Call the module, from its own beginning of a text if one begins."""
        if self._given is not None:
            return self._given(self.called, tokens, state)
        if begins:
            state = copy_of(self._forward.begin(self.module, tokens))
        return self._forward(self.called, tokens, state)

    @contextmanager
    def holding(self, attributes: Mapping[str, Any] | None = None) -> Iterator[None]:
        """Put attributes into the module, by default as they were before the first call, while the block runs."""
        _put(self.module, copy_of(self._held) if attributes is None else attributes)
        try:
            yield
        finally:
            _put(self.module, copy_of(self._held))

    @property
    def form(self) -> Form:
        """The form in which the module is called."""
        return self._forward.form

    @property
    def is_scripted(self) -> bool:
        """True if a part was made by `torch.jit`, which lets nothing watch its calls."""
        return any(isinstance(part, torch.jit.ScriptModule) for part in self.module.modules())

    @property
    def scales_calls(self) -> bool:
        """True if a part has dynamic int8, with one scale for all numbers of a call."""
        if any(".quantized.dynamic." in type(part).__module__ for part in self.module.modules()):
            return True
        return self.is_scripted and _DYNAMIC_INT8.search(str(getattr(self.module, "inlined_graph", ""))) is not None

    def attributes(self) -> dict[str, Any]:
        """Return the state that the module holds now: the attributes that a call changes, by path."""
        return {path: getattr(*_place(self.module, path)) for path in self._held}

    @property
    def device(self) -> torch.device:
        """The device of the first parameter."""
        return next((parameter.device for parameter in self.module.parameters()), torch.device("cpu"))

    @contextmanager
    def as_called(self) -> Iterator[None]:
        """Read as the module's user does while the block runs: what a call leaves in the module stays until its end.

        A module that keeps all of its state has no other beginning of a text than the one that is put back.
        """
        held = self._held
        if not self.keeps_all:
            self._held = {}
        try:
            yield
        finally:
            self._held = held
            _put(self.module, copy_of(held))

    def of(self, module: torch.nn.Module) -> "TorchStep":
        """Return the same step of another module."""
        other = TorchStep(module, self._given)
        other._forward, other._is_found = self._forward, self._is_found
        return other

    def widened(self, lm: StepLM, dtype: str) -> StepLM | None:
        """Return a copy of its model that computes in a wider type; None if it cannot, or its states are not wider."""
        wide: torch.dtype = getattr(torch, dtype)
        if (made := self.copied(lm, wide)) is None:
            return None
        types = {leaf.like.dtype for leaf in made.leaves if torch.is_tensor(leaf.like)}
        narrow = any(each.is_floating_point and each.itemsize < wide.itemsize for each in types)
        return None if narrow else made

    def copied(self, lm: StepLM, dtype: torch.dtype | None = None) -> StepLM | None:
        """Return a copy of its model, in another type if one is given; None if the module cannot be copied so."""
        try:
            module = copy.deepcopy(self.module)
            step = self.of(module if dtype is None else module.to(dtype))
            made = language_model(step, None, lm.checkpoint.title, lm.checkpoint.format)
        except Exception:  # whatever the module raises
            return None
        return replace(made, vocabulary=lm.vocabulary)

    def moved_copy(self, lm: StepLM, draw: int) -> StepLM | None:
        """Return a copy of its model with each weight moved by ± one unit in the last place; None without weights."""
        made = self.copied(lm)
        if made is None or not any(parameter.is_floating_point() for parameter in self.module.parameters()):
            return None
        made.function.step.move_weights(draw)  # type: ignore[attr-defined]  # a step of this class
        return made

    @contextmanager
    def weights_moved(self, draw: int, unit: float) -> Iterator[None]:
        """Move every weight by ± one relative unit while the block runs."""
        weights = [(each, each.detach().clone()) for each in self.module.parameters() if each.is_floating_point()]
        self.move_weights(draw, unit)
        try:
            yield
        finally:
            for parameter, value in weights:
                parameter.data.copy_(value)

    def move_weights(self, draw: int, unit: float | None = None) -> None:
        """Move every weight by ± one unit in the last place of its own type, or by a relative unit."""
        generator = torch.Generator().manual_seed(draw)
        for parameter in self.module.parameters():
            if parameter.is_floating_point():
                signs = torch.randint(0, 2, parameter.shape, generator=generator) * 2 - 1
                size = torch.finfo(parameter.dtype).eps if unit is None else unit
                parameter.data.mul_((1 + size * signs.double()).to(parameter))

    @property
    def half(self) -> str:
        """The type of half precision of a weight or buffer; "" if there is none."""
        tensors = filter(torch.is_tensor, self.module.state_dict().values())
        types = {str(each.dtype).removeprefix("torch.") for each in tensors}
        return min(types & {"bfloat16", "float16"}, default="")

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Put the module into evaluation mode, without gradients, while the block runs."""
        training = [each for each in self.module.modules() if getattr(each, "training", False)]  # frozen ones have none
        _set_training(training, False)
        try:
            with torch.no_grad():
                yield
        finally:
            _set_training(training, True)

    @contextmanager
    def differentiating(self, parameters: Iterable[torch.nn.Parameter] = ()) -> Iterator[None]:
        """Put the module into evaluation mode with gradients, also by these parameters, while the block runs."""
        frozen = [parameter for parameter in parameters if not parameter.requires_grad]
        for parameter in frozen:
            parameter.requires_grad_(True)
        try:
            with self.evaluating(), torch.enable_grad():
                yield
        finally:
            for parameter in frozen:
                parameter.requires_grad_(False)

    def find_held(self, ids: NDArray[np.int32]) -> None:
        """Make two calls, and find how the module is called, and the state that it holds itself.

        Raises:
            CheckpointError: it returns no logits and a state in any form of a call, or its rows are tokens of a text.
            Exception: what the module itself raises, if it raises in each form.
        """
        copies = {path: copy_of(value) for path, value in _attributes(self.module).items()}
        forms = iter([self._forward]) if self._is_found else self._forward.forms(self.module)
        errors: list[Exception] = []
        for self._forward in forms:
            self._held = {}
            try:
                self._find_held(ids, copies)
            except TimeFirstError:
                raise
            except Exception as error:  # whatever the module raises where it is called as it was not meant to be
                errors.append(error)
                _put(self.module, copies)
            else:
                self._is_found = True
                return
        raise errors[0]

    def _find_held(self, ids: NDArray[np.int32], copies: Mapping[str, Any]) -> None:
        """Make two calls, and find attributes and buffers that they change; `copies` are those from before."""
        tokens = torch.as_tensor(ids, dtype=torch.long, device=self.device)
        with self.evaluating():
            returned: Any = self._call(tokens, None, begins=True)
            pair, alone = isinstance(returned, tuple | list) and len(returned) == 2, torch.is_tensor(returned)
            logits, state = returned if pair else (returned, None)
            shape = tuple(getattr(logits, "shape", ()))
            seen = f"{type(logits).__name__}{f' of shape {shape}' * bool(shape)}{' and a state' * pair}"
            message = (
                f"returned a {seen} for ids of shape {ids.shape}: a pair is needed, logits (batch, time, V) and "
                "the new state; step=, a function of (module, ids, state), may return it"
            )
            if not (pair or alone) or len(shape) != 3 or shape[:2] != ids.shape:
                raise self.refusal(message)
            self._require_batch_first(tokens, logits)
            later = self._call(tokens[:, :1], state, begins=False)
            logits = later if alone else later[0]
            if self.form.sentences and tuple(logits.shape) != (len(ids), 1, shape[2]):
                raise self.refusal(f"returned logits of shape {tuple(logits.shape)} for ids of shape ({len(ids)}, 1)")
        self._held = {
            path: copies.get(path)
            for path, value in _attributes(self.module).items()
            if path not in copies or _differ(copies[path], value)
        }
        _put(self.module, self._held)
        self.keeps_all = not leaves_of(state)
        if alone and not self._held:
            raise self.refusal(message)

    def _require_batch_first(self, tokens: torch.Tensor, logits: torch.Tensor) -> None:
        """Refuse a module for which the rows of ids are the tokens of a text; `logits` are those of the tokens."""
        other = tokens.clone()
        other[0, 0] = 0
        returned = self._call(other, None, begins=True)
        changed = ((returned if torch.is_tensor(returned) else returned[0]) != logits).any(dim=-1)
        if len(tokens) > 1 and changed[1, 0] and not changed[0, 1:].any() and not self._attention:
            raise TimeFirstError(
                f"{type(self.module).__name__} reads ids as (time, batch): in a call of shape {tuple(tokens.shape)}, "
                "the first token of a row changes the logits of the next row, and none of its own row. If this is "
                "meant, give from_torch(..., time_first=True); if not, a layer lacks batch_first=True, and rows leak "
                "into each other"
            )

    @property
    def _attention(self) -> str:
        """The path of the first attention of a module that has attention and no recurrent module; "" of others."""
        parts = [*self.module.named_modules()]
        attention = (path for path, part in parts if isinstance(part, torch.nn.MultiheadAttention))
        return "" if any(isinstance(part, torch.nn.RNNBase) for _, part in parts) else next(attention, "")

    def refusal(self, message: str) -> CheckpointError:
        """Return the error of a module that carries no state, or else of what was seen of it."""
        name = type(self.module).__name__
        if self._attention:
            return CheckpointError(about_transformer(name, self._attention))
        if self.stateless:
            message = (
                "takes no state: give step=, a function of (module, ids, state) that returns (logits, state); a model "
                "of transformers goes to rnneval.from_transformers"
            )
            return CheckpointError(f"{name}.forward {message}")
        return CheckpointError(f"{name} {message}")


def require_module(value: Any, function: str, advice: str) -> None:
    """Refuse what is not a module, such as its weights or its path; `function` is the caller in `rnneval`."""
    if not isinstance(value, torch.nn.Module):
        kind = type(value).__name__
        raise UsageError(f"rnneval.{function} takes a torch.nn.Module, and was given a {kind}: {advice}")


def _set_training(modules: Iterable[torch.nn.Module], training: bool) -> None:
    for module in modules:
        if isinstance(module, torch.jit.ScriptModule):
            module.training = training
        else:
            vars(module)["training"] = training  # past `Module.__setattr__`, which is slow


def copy_of(state: Any) -> Any:
    """Return a nest whose tensors are copies; one tensor that stands in several places is still one in the copy."""
    leaves = [*leaves_of(state).values()]
    copies = {id(leaf): leaf.clone() if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves}
    return filled(state, (copies[id(leaf)] for leaf in leaves))


def _attributes(module: torch.nn.Module) -> dict[str, Any]:
    """Return the buffers of a module and its attributes that may hold a state, by path."""
    attributes = {}
    for name, part in module.named_modules():
        plain = {key: value for key, value in vars(part).items() if not key.startswith("_") and key != "training"}
        for key, value in (plain | dict(part._buffers.items())).items():
            if _may_be_state(value):
                attributes[f"{name}.{key}" if name else key] = value
    return attributes


def _may_be_state(value: Any) -> bool:
    """Return whether a value is None, an array, a number, or a plain container of such."""
    if isinstance(value, Mapping | tuple | list | deque):
        return all(map(_may_be_state, value.values() if isinstance(value, Mapping) else value))
    return value is None or is_array(value)


def _differ(before: Any, after: Any) -> bool:
    """Return whether two nests differ in their form, or in any number."""
    old, new = leaves_of(before), leaves_of(after)
    return old.keys() != new.keys() or not all(_equal(old[path], new[path]) for path in old)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.dtype == b.dtype and bool(torch.equal(a, b))
    return type(a) is type(b) and bool(a == b)


def _put(module: torch.nn.Module, values: Mapping[str, Any]) -> None:
    """Set attributes and buffers of a module and its parts."""
    for path, value in values.items():
        setattr(*_place(module, path), value)


def _place(module: torch.nn.Module, path: str) -> tuple[torch.nn.Module, str]:
    """Return the part of a module that has an attribute, and the name of the attribute there."""
    name, _, key = path.rpartition(".")
    return module.get_submodule(name), key


def from_torch(
    module: torch.nn.Module,
    step: StepOfModule | None = None,
    *,
    vocabulary: Vocabulary | str | PathLike[str] | Sequence[str] | Mapping[str, int] | None = None,
    name: str = "",
    time_first: bool = False,
) -> StepLM:
    """Make a language model of a PyTorch module that carries a state.

    Args:
        module: Called as `module(ids, state)` with ids of type int64 and shape `(batch, time)`, and the state that it
            returned for the tokens before, None at the start. Returns logits `(batch, time, V)` and the new state: a
            tensor, or a tuple, list, dict or object that holds tensors, which it may change in place. It may return
            several states that are arguments, also `*states`, further values, logits `(batch * time, V)`, and logits
            in a mapping or an object. Where a call with the state None fails, a text begins with what a method such as
            `init_hidden(batch)` makes; where one with ids fails, one-hot vectors are tried, and one token a call. The
            record of an evaluation says so.
        step: Called as `step(module, ids, state)` in place of the module, where it takes other arguments.
        vocabulary: A Vocabulary, the tokens in the order of their ids, a map from token to id, or a vocabulary file. It
            is needed to evaluate the model.
        name: Name of the model in messages, records and reports; by default that of its class.
        time_first: Whether it takes ids `(time, batch)`, as recurrent modules of PyTorch without `batch_first` do.

    Raises:
        CheckpointError: the module takes no state, fails, returns other shapes, or has a state that cannot be carried.
        VocabularyError: the vocabulary is not a one-to-one map, or does not fit the number of logits.

    Example:
        >>> class Small(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.embedding = torch.nn.Embedding(5, 8)
        ...         self.gru = torch.nn.GRU(8, 8, batch_first=True)
        ...         self.out = torch.nn.Linear(8, 5)
        ...     def forward(self, ids, state=None):
        ...         outputs, state = self.gru(self.embedding(ids), state)
        ...         return self.out(outputs), state
        >>> lm = from_torch(Small(), vocabulary=list("abcde"))
        >>> lm.width, lm.checkpoint.parameters
        (5, 517)
    """
    require_module(module, "from_torch", "make the module, and load its weights with load_state_dict")
    called = TorchStep(module, step, time_first=time_first)
    name = name or getattr(module, "original_name", type(module).__name__)  # the former of `torch.jit.script`
    return language_model(called, given_vocabulary(vocabulary), name, "torch")


def language_model(step: TorchStep, vocabulary: Vocabulary | None, name: str, form: str) -> StepLM:
    """Return the model of a step of PyTorch, once the state is known that the module holds itself."""
    try:
        rows = _rows_of(step)
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError, AssertionError, torch.jit.Error) as error:
        called = "it is called as forward(ids, state), at first with the state None"
        raise step.refusal(f"failed on ids of shape {_TRIED}: {type_and_message(error)}; {called}") from error
    ids = np.ones((rows, _TRIED[1]), np.int32)
    width = int(step(ids, None)[0].shape[-1])
    made = _model(step, width, name, batched=rows > 1)
    if vocabulary is not None:
        made = replace(made, vocabulary=vocabulary.fit(width, spare=form == "transformers"), why_no_vocabulary="")
    parameters = [*step.module.parameters()]
    dtype = str(parameters[0].dtype).removeprefix("torch.") if parameters else made.checkpoint.dtype
    weights = [each for value in step.module.state_dict().values() for each in _packed(value)]
    count = sum({(each.data_ptr(), each.shape): each.numel() for each in (*parameters, *weights)}.values())
    # PyTorch's own recurrent modules show their states, where they make up the state.
    numbers = sum(leaf.size for leaf in made.leaves if leaf.dtype.kind in "fc" and leaf.kind == "state")
    modules = RecurrentModules(step.module)
    return replace(
        made,
        assumptions=(*made.assumptions, *step.form.sentences),
        names=modules.names(step, ids),
        observer=modules if made.batched and numbers and modules.make_up(step, numbers) else None,
        checkpoint=msgspec.structs.replace(made.checkpoint, format=form, parameters=count, dtype=dtype),
    )


def _packed(value: Any) -> Iterator[torch.Tensor]:
    """Yield the weights that a value of a `state_dict` holds beside plain tensors, as quantized modules have them."""
    if isinstance(value, torch.ScriptObject):
        value = value.__getstate__()
    if isinstance(value, torch.Tensor) and (value.is_quantized or isinstance(value, torch.nn.Parameter)):
        yield value
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _packed(each)


def _rows_of(step: TorchStep) -> int:
    """Find how a module is called, and return the rows of a call that works: some modules hold the state of one row."""
    try:
        step.find_held(np.ones(_TRIED, np.int32))
    except TimeFirstError:
        raise
    except Exception:
        with suppress(Exception):
            step.find_held(np.ones((1, _TRIED[1]), np.int32))
            return 1
        raise
    return _TRIED[0]


def _model(step: TorchStep, width: int, name: str, *, batched: bool) -> StepLM:
    """Return a model that reads several rows in one call, or one row if it cannot."""
    try:
        return from_step(step, vocab_size=width, name=name, batched=batched)
    except CheckpointError as error:
        try:
            made = from_step(step, vocab_size=width, name=name, batched=False)
        except CheckpointError:
            raise error from None
        why = f"it reads one row at a time, since with several {error}"
        return replace(made, assumptions=(*made.assumptions, why))
