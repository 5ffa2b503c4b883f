"""One call of a model from a state: what each module was given and gave, and where each array of the state appeared.

States are told from other tensors by their content: a step gives the model copies of them, in any container. An event
is the begin or the end of a module. A birth is the first appearance of some content:

```text
event                 arguments or results     kept of it
layers.1 begins       y, 1.h                   contents: y; entries: layers.1 was given 1.h as its second argument
layers.1 ends         z, 1.h'                  contents: z, 1.h'; births: 1.h' appeared as the second output of layers.1
```

`readers.py` makes such calls from states of which one array is changed, and compares them.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from rnneval.models.state import leaves_of
from rnneval.models.torch.module import TorchStep
from rnneval.wiring.subject import Ids
from rnneval.wiring.torch.hooks import Chain, Phase, content, listening, tensors_in


class SlotPlace(str):
    """The place of a state of a recurrent module of PyTorch: `h`, or `h[0]` of the first of the layers that it stacks.

    Other places at which modules get and return tensors are paths within their arguments or results.
    """


class ModuleEvent(NamedTuple):
    """The begin or end of a module, and the content of what it got or gave, states left out."""

    chain: Chain
    phase: Phase
    contents: tuple[tuple[str, bytes], ...]


class Birth(NamedTuple):
    """An appearance of some content: as an output of a module, or in an array of the state while it ran."""

    chain: Chain
    output: str | None = None
    array: str | None = None


def arrays_of(state: Any) -> dict[str, torch.Tensor]:
    """Return the arrays of real or complex numbers of a state by path."""
    tensors = {path: leaf for path, leaf in leaves_of(state).items() if isinstance(leaf, torch.Tensor) and leaf.numel()}
    return {path: leaf for path, leaf in tensors.items() if leaf.is_floating_point() or leaf.is_complex()}


def part_path(path: str, axis: int, index: int) -> str:
    """Return the path of one layer's part of an array, such as `state[1][:, :, 0]`."""
    return f"{path}[{':, ' * axis}{index}]"


def with_parts(arrays: Mapping[str, torch.Tensor], sizes: Collection[int]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield arrays by path, and their parts along each axis of one of these sizes."""
    for path, array in arrays.items():
        yield path, array
        for axis in (axis for axis, size in enumerate(array.shape) if size in sizes):
            yield from ((part_path(path, axis, index), part) for index, part in enumerate(array.unbind(axis)))


def _stack_size(module: nn.Module) -> int:
    """Return the number of layers and directions whose states a recurrent module of PyTorch keeps in one array."""
    return module.num_layers * (2 if module.bidirectional else 1) if isinstance(module, nn.RNNBase) else 1


def _slots(module: nn.Module, phase: Phase) -> dict[str, str]:
    """Return where a recurrent module of PyTorch takes or returns its states, by path; nothing of others."""
    is_changed = _stack_size(module) == 1 and type(module).forward.__module__ != nn.LSTM.__module__
    if is_changed or not isinstance(module, nn.RNNBase | nn.RNNCellBase):
        return {}  # a subclass may return its states as it likes
    states = ("[0][1]", "[1]['hx']") if phase is Phase.BEGIN else ("[1]" if isinstance(module, nn.RNNBase) else "",)
    return {at + part: slot for at in states for part, slot in (("", "h"), ("[0]", "h"), ("[1]", "c"))}


class WatchedCall:
    """One call from a state: what modules saw, and which arrays of the state they were given and made."""

    def __init__(self, step: TorchStep, ids: Ids, state: Any, *, with_births: bool = False) -> None:
        """Make the call; record what each module made, too, if `with_births`."""
        self.events: list[ModuleEvent] = []
        self.births: defaultdict[bytes, list[Birth]] = defaultdict(list)
        """By content: where it appeared, in this order."""
        self.entries: defaultdict[str, set[tuple[Chain, str]]] = defaultdict(set)
        """By the path of an array: the modules that were given it, and its place among their arguments."""
        self.links: defaultdict[tuple[Chain, str], set[str]] = defaultdict(set)
        """By a module and a place among its outputs: the places among its arguments at which a later run got this."""
        before = {path: array.detach().clone() for path, array in arrays_of(state).items()}
        parts = [*step.module.modules()]
        self.stacks = {*map(_stack_size, parts)} - {1}  # the numbers of layers that one module runs
        self.lists = {len(part) for part in parts if isinstance(part, nn.ModuleList)} - {0, 1}
        self._step, self._with_births = step, with_births
        self._memory = {path: _stored(array) for path, array in before.items()}
        self._path_of_part = {content(part): at for at, part in with_parts(before, self.stacks)} if self.stacks else {}
        self._sizes = {array.untyped_storage().nbytes() for array in before.values()}
        self._at_address: dict[int, tuple[str, torch.Tensor]] = {}  # the tensors are kept, so no address is reused
        self._arguments: list[Any] = []  # of the outermost modules: containers that may hold the state are among them
        self._versions: dict[str, tuple[int, int]] = {}
        self._path_at: dict[str, str] = {}  # where the model has an array → its path in the state
        with listening(step.module, self._hear):
            logits, self.after = step(ids, state)
        self.logits = content(logits)

    def _hear(self, chain: Chain, phase: Phase, arguments: Any, result: Any) -> None:
        """Record one event, and tell the arrays of the state from other tensors."""
        if len(chain) == 1 and phase is Phase.BEGIN:
            self._arguments.append(arguments)
            for at, tensor in self._changed():
                self._path_at.setdefault(at, self._path_of(tensor) or at)
        tensors, others = [*self._tensors(chain, phase, arguments if phase is Phase.BEGIN else result)], []
        for place, tensor in tensors:
            part = self._path_of_part.get(content(tensor)) if isinstance(place, SlotPlace) else None
            path = part or self._path_of(tensor)
            if path is None:
                others.append((place, content(tensor)))
            elif phase is Phase.BEGIN:
                self.entries[path].add((chain, place))
        self.events.append(ModuleEvent(chain, phase, tuple(others)))
        if self._with_births and phase is Phase.BEGIN:
            for place, tensor in tensors:
                births = () if is_constant(tensor) else self.births.get(content(tensor), ())
                for output in (birth.output for birth in births if birth.chain == chain and birth.output is not None):
                    self.links[chain, output].add(place)
            self._add_births(chain[:-1], ())  # what changed before a module began was made by the one around it
        elif self._with_births:
            self._add_births(chain, (*tensors_in(result), *tensors))

    def _add_births(self, maker: Chain, outputs: Sequence[tuple[str, torch.Tensor]]) -> None:
        """Note which arrays of the state changed since the last event, and the outputs of a module that ends."""
        arrays = {self._path_at.get(place, place): tensor for place, tensor in self._changed()}
        for path, part in with_parts(arrays, self.stacks | self.lists):
            self.births[content(part)].append(Birth(maker, array=path))
        for place, tensor in outputs:
            self.births[content(tensor)].append(Birth(maker, output=place))

    def _tensors(self, chain: Chain, phase: Phase, nest: Any) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the tensors of an event; states of recurrent modules of PyTorch by slot, of stacks layer by layer."""
        module = self._step.module.get_submodule(chain[-1])
        size, slots = _stack_size(module), _slots(module, phase)
        for path, tensor in tensors_in(nest):
            if path not in slots or (size > 1 and len(tensor) != size):
                yield path, tensor
            elif size == 1:
                yield SlotPlace(slots[path]), tensor
            else:
                yield from ((SlotPlace(f"{slots[path]}[{layer}]"), part) for layer, part in enumerate(tensor))

    def _changed(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the arrays that were replaced or changed in place since the last look, where the model has them."""
        for place, value in leaves_of([self._step.attributes(), *self._arguments]).items():
            if isinstance(value, torch.Tensor):
                version = (value.data_ptr(), value._version)
                if self._versions.get(place) != version:
                    self._versions[place] = version
                    yield place, value

    def _path_of(self, tensor: torch.Tensor) -> str | None:
        """Return the path of the array of the state that a tensor is, or is a view or copy of; None for others.

        Its address stands for this array from then on. Of equal arrays each address is another one, in their order.
        """
        storage = tensor.untyped_storage()
        if (entry := self._at_address.get(storage.data_ptr())) is not None:
            return entry[0]
        if not tensor.numel() or storage.nbytes() not in self._sizes:
            return None
        digest, has_address = _stored(tensor), {path for path, _ in self._at_address.values()}
        equal = [path for path, other in self._memory.items() if other == digest]
        path = next((path for path in equal if path not in has_address), next(iter(equal), None))
        if path is not None:
            self._at_address[storage.data_ptr()] = (path, tensor)
        return path

    def first_difference(self, other: "WatchedCall") -> Chain | None:
        """Return the modules that are running where another call first differs; () outside of all, None nowhere."""
        for plain, event in zip(self.events, other.events, strict=False):
            if plain != event:
                return event.chain if event.phase is Phase.END else event.chain[:-1]
        return None if self.logits == other.logits else ()

    def maker(self, path: str, after: torch.Tensor | None) -> tuple[Chain, str] | None:
        """Return the module in which an array's new content first appeared, and the array that it was made as."""
        if after is None or is_constant(after):
            return None
        # One layer's part of a stack may have been returned with an axis of length one.
        births = [birth for shape in (after, after[None]) for birth in self.births.get(content(shape), [])]
        if not births:
            return None
        first = births[0]
        places = {birth.output for birth in births if birth.output is not None and birth.chain == first.chain}
        return first.chain, first.array or self._output_array(first.chain, places, path)

    def _output_array(self, maker: Chain, places: Collection[str], path: str) -> str:
        """Return the array that a module is given where it takes up what it returned at some places.

        A slot of a recurrent module of PyTorch is taken up as the same one; elsewhere the runs of one call show it.
        """
        takes = {place: array for array, entries in self.entries.items() for chain, place in entries if chain == maker}
        later: set[str] = {place for place in places if isinstance(place, SlotPlace)}
        later = later or {argument for place in places for argument in self.links.get((maker, place), ())}
        if path not in takes.values() or path in (takes.get(place) for place in later):
            return path
        return next((takes[place] for place in sorted(later) if place in takes), path)

    def handed(self, writer: Chain | None, after: Mapping[str, torch.Tensor]) -> tuple[list[str], Chain | None]:
        """Return the arrays of other modules whose new content a writer got beside its input, and what gave it a state.

        That is the module that returned it beside its first output. The call is of several tokens: the output of one
        token may have the numbers and the shape of a state.
        """
        events = (event for event in self.events if event.phase is Phase.BEGIN and event.chain == writer)
        arguments = [numbers for event in events for _, numbers in event.contents[1:]]
        paths = (path for path, each in after.items() if not {content(each), content(each[None])}.isdisjoint(arguments))
        makers = {path: self.maker(path, after[path]) for path in paths}
        births = (birth for numbers in arguments for birth in self.births.get(numbers, []))
        others = (birth.chain for birth in births if birth.output not in (None, "", "[0]"))
        giver = next((chain for chain in others if chain != writer), None)
        return [path for path, maker in makers.items() if maker is not None and maker[0] != writer], giver


def _stored(tensor: torch.Tensor) -> bytes:
    """Return a digest of all that a tensor's memory holds, so that a view is known as its whole."""
    return content(torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage().cpu()))


def is_constant(tensor: torch.Tensor) -> bool:
    """Return whether all numbers are equal: such a tensor looks like many others."""
    return not bool((tensor != tensor.reshape(-1)[:1]).any())
