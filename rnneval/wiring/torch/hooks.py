"""Hooks on every module: what is going on while a model runs, event by event, and where a module comes from."""

import hashlib
import inspect
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import fields, is_dataclass
from enum import Enum, auto
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rnneval.models.state import filled, leaves_of
from rnneval.models.torch.module import TorchStep, copy_of
from rnneval.wiring.facts import Spot

Chain = tuple[str, ...]  # the names of the modules that are running, the outermost first


class Phase(Enum):
    """Events of a run of a module."""

    BEGIN = auto()
    END = auto()


ModuleListener = Callable[[Chain, Phase, Any, Any], None]
"""Called as `listener(running, phase, arguments, result)` when the last of the running modules begins or ends.

`arguments` are its positional and keyword arguments; `result` is None when it begins.
"""


@contextmanager
def listening(module: torch.nn.Module, listener: ModuleListener) -> Iterator[None]:
    """Report the begin and the end of every module, until the context ends."""
    running: list[str] = []

    def hook(name: str, phase: Phase) -> Callable[..., None]:
        def hear(_: torch.nn.Module, args: Any, kwargs: Any, result: Any = None) -> None:
            if phase is Phase.BEGIN:
                running.append(name)
            listener(tuple(running), phase, (args, kwargs), result)
            if phase is Phase.END:
                running.pop()

        return hear

    with ExitStack() as hooks:
        for name, each in module.named_modules():
            hooks.callback(
                each.register_forward_pre_hook(hook(name, Phase.BEGIN), with_kwargs=True, prepend=True).remove
            )
            hooks.callback(each.register_forward_hook(hook(name, Phase.END), with_kwargs=True).remove)
        yield


def runs_of(step: TorchStep, layer: Chain, ids: NDArray[np.int32], state: Any, *, altered: bool = False) -> list[Any]:
    """Return copies of the arguments of each run of a module in one call, if asked with its first result altered."""
    runs: list[Any] = []

    def hear(chain: Chain, phase: Phase, arguments: Any, _: Any) -> None:
        if chain == layer and phase is Phase.BEGIN:
            runs.append(copy_of(arguments))

    def alter(_: Any, __: Any, result: Any) -> Any:
        return filled(result, map(_moved, leaves_of(result).values())) if altered and len(runs) == 1 else None

    handle = step.module.get_submodule(layer[-1]).register_forward_hook(alter)
    try:
        with listening(step.module, hear):
            step(ids, state)
    finally:
        handle.remove()
    return runs


def _moved(leaf: Any) -> Any:
    return leaf * 1.5 + 0.5 if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() else leaf


def tensors_in(nest: Any, path: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors of tuples, lists, mappings and dataclasses by path; other objects, as caches, stay closed."""
    if isinstance(nest, torch.Tensor):
        yield path, nest
    elif isinstance(nest, Mapping | tuple | list | deque):
        for key, value in nest.items() if isinstance(nest, Mapping) else enumerate(nest):
            yield from tensors_in(value, f"{path}[{key!r}]")
    elif is_dataclass(nest):
        for field in fields(nest):
            yield from tensors_in(getattr(nest, field.name), f"{path}.{field.name}")


def content(tensor: torch.Tensor) -> bytes:
    """Return a digest of a tensor's numbers, bit by bit, and of its shape."""
    flat = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
    numbers = flat.as_strided(flat.shape, (1,)).view(torch.uint8).numpy()  # one number may have any stride
    return hashlib.blake2b(numbers, digest_size=16, key=str(tuple(tensor.shape)).encode()[:64]).digest()


def same(a: Any, b: Any) -> bool:
    """Return whether two leaves of a nest are equal, tensors bit by bit."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return content(a) == content(b)
    return a is not None and b is not None and bool(np.array_equal(a, b))


def spot_of(model: torch.nn.Module, running: Chain) -> Spot:
    """Return the innermost of the running modules as the layer, with the file and line of its `forward`.

    Of a module of PyTorch itself they are those of the nearest module around it that is not.
    """
    parts = [model.get_submodule(name) for name in reversed(running)]
    shown = next((part for part in parts if not is_of_pytorch(part)), parts[0])
    layer = running[-1] or type(parts[0]).__name__
    try:
        forward = inspect.unwrap(type(shown).forward)
        source, first = inspect.getsourcelines(forward)
        after_decorators = next((at for at, line in enumerate(source) if line.lstrip().startswith("def ")), 0)
        return Spot(layer=layer, file=inspect.getsourcefile(forward), line=first + after_decorators)
    except (OSError, TypeError):
        return Spot(layer=layer)


def is_of_pytorch(module: torch.nn.Module) -> bool:
    """Return whether the class of a module is one of PyTorch itself."""
    return type(module).__module__.startswith("torch.nn.")
