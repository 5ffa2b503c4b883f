"""The provenance of states: which numbers that stubs emitted are in a tensor, and in which places.

*Labels* say for each element of a tensor which of the emitted numbers (`emissions.py`) is in it: k for the k-th,
`UNLABELLED` for none. A *trail* holds the labels of a tensor, and the events and inputs that it was computed from.
`Walk` hears each op right after it ran, and works out the trails of its outputs:

```text
what runs                        its type            the trail of its output
a stub emits h = [.31 −.72]                          labels [0 1]
concat([h, zeros])               in MOVES            labels [0 1 U U]: the same op, run on labels
0.9 * h + 0.1                    in ELEMENTWISE      labels [0 1], transformed
h @ kernel                       any other           no labels; `pool` names the state that h was
state.numpy(), and back          not heard           labels [0 1]: looked up by the numbers
variable.assign(h); read_value() Assign…, ReadVar…   labels [0 1]: the variable remembers
```

So the trail of a tensor that goes into a layer as its state says whose state it is, and which element sits where.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.eager import context, execute

from rnneval.wiring.keras.emissions import UNLABELLED, Emissions, Labels, Sources

CALLS, TOKENS = 4, 2  # the calls of one probing, and the tokens that each reads

IDENTITY = {
    *("Identity", "IdentityN", "StopGradient", "PreventGradient", "Cast", "CheckNumerics", "EnsureShape", "Snapshot"),
    *("Copy", "DeepCopy"),
}
MOVES = {
    *("Reshape", "Squeeze", "ExpandDims", "Pack", "Unpack", "ConcatV2", "Split", "SplitV", "Slice", "StridedSlice"),
    *("Transpose", "GatherV2", "GatherNd", "Tile", "ReverseV2", "Roll", "BroadcastTo", "Pad", "PadV2"),
    "TensorScatterUpdate",
}
"""The ops that move elements without changing them: the same op, run on labels, tells where they went.

A slice that is off by four, or a reshape that mixes batch and layer, is found with no special case: the labels end up
where the numbers do.
"""
ELEMENTWISE = {
    *("Add", "AddV2", "AddN", "Sub", "Mul", "RealDiv", "Div", "DivNoNan", "TruncateDiv", "FloorDiv", "Mod", "FloorMod"),
    *("Pow", "Maximum", "Minimum", "MulNoNan", "SquaredDifference", "Neg", "Abs", "Sign", "Exp", "Expm1", "Log"),
    *("Log1p", "Sqrt", "Rsqrt", "Square", "Reciprocal", "Inv", "Tanh", "Sigmoid", "Relu", "Relu6", "LeakyRelu", "Elu"),
    *("Selu", "Softplus", "Softsign", "Erf", "Erfc", "Sin", "Cos", "Tan", "Asinh", "Atan", "Sinh", "Cosh", "Round"),
    *("Rint", "Floor", "Ceil", "ClipByValue", "Select", "SelectV2", "BiasAdd", "Xlogy", "Atan2"),
    *("FakeQuantWithMinMaxVars", "QuantizeAndDequantizeV2"),
}
"""The ops whose every output element is made of the input elements in its own place."""
RANDOM = ("Random", "TruncatedNormal", "Multinomial", "Bernoulli", "StatelessTruncated", "StatelessParameterized")
"""Parts of the types of ops that draw random numbers."""
VALUELESS = {"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"}  # ops that read the shape of their input only
OPAQUE = (
    *("PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile", "If", "StatelessIf", "Case"),
    *("EagerPyFunc", "PyFunc", "PyFuncStateless", "XlaLaunch", "__inference_", "__forward_"),
)
"""The beginnings of the types of ops that hide a whole function."""
_MOST_PLANES = 8  # a blend of more states than this keeps its sources and loses their places


@dataclass(frozen=True, kw_only=True, eq=False)
class Trail:
    """The states that are in one tensor, and its other origins."""

    planes: tuple[Labels, ...] = ()  # labels of its shape; an element made of several states has several
    pool: Sources = frozenset()  # sources whose places are lost
    transformed: bool = False
    random: bool = False
    noisy: Sources = frozenset()  # the states in it that met random numbers
    variable: bool = False
    born: int | None = None  # the call in which it was made, where no state is in it
    origins: frozenset[Any] = frozenset()  # the inputs and events that it was made of (events not by whole numbers)
    opaque: str = ""

    @property
    def recurrent(self) -> bool:
        """True if any state is in the tensor."""
        return bool(self.planes or self.pool)


class Walk:
    """Trails by tensor: tensors are known by identity, so all are kept alive."""

    def __init__(self, emissions: Emissions) -> None:
        self.call = 0  # the call of the model that is running
        self._emissions = emissions
        self._trails: dict[int, Trail] = {}
        self._variables: dict[int, Trail] = {}
        self._by_bytes: dict[bytes, Trail] = {}
        self._alive: list[Any] = []

    def set_trail(self, tensor: Any, trail: Trail) -> None:
        """Set the trail of a tensor that no op made: an emission, or the model's input."""
        self._trails[id(tensor)] = trail
        self._alive.append(tensor)

    def sources(self, trail: Trail) -> Sources:
        """Return every state that is in a tensor."""
        return trail.pool.union(*map(self._emissions.sources, trail.planes))

    def trail(self, tensor: Any) -> Trail:
        """Return the trail of a tensor; one that no op made, as from NumPy, is looked up by its numbers."""
        if id(tensor) not in self._trails:
            values, known = _values(tensor), None
            if values is not None and 0 < values.size <= CALLS * self._emissions.count:  # a larger one is a weight
                known = self._by_bytes.get(_bytes(tensor))
                labels = None if known is not None else self._emissions.find(values)
                if labels is not None:
                    known = Trail(planes=(labels,))
            self.set_trail(tensor, known or Trail(born=self.call))
        return self._trails[id(tensor)]

    def hear(self, name: str, inputs: Sequence[Any], attributes: Mapping[str, Any], outputs: Sequence[Any]) -> None:
        """Work out the outputs of an op that ran."""
        if name in {"VarHandleOp", "DestroyResourceOp", "NoOp"}:
            return
        variable = self._variables.get(id(inputs[0])) if inputs else None
        if name.startswith("Assign") and name.endswith("VariableOp"):
            value = self.trail(inputs[1])
            if name != "AssignVariableOp":  # the others add or subtract
                (value,) = self._outputs("AddV2", [variable or Trail(), value], [inputs[1]] * 2, {}, [inputs[1]])
            self._variables[id(inputs[0])] = value
            self._alive.append(inputs[0])
            return
        if name == "ReadVariableOp":
            trails = [variable or Trail(variable=True)]
        else:
            trails = self._outputs(name, [*map(self.trail, inputs)], inputs, attributes, outputs)
        for tensor, trail in zip(outputs, trails, strict=True):
            dated = not (trail.recurrent or trail.variable) and trail.born is None
            self.set_trail(tensor, replace(trail, born=self.call) if dated else trail)
            if any(not source.incoming for source in self.sources(trail)):
                self._by_bytes[_bytes(tensor)] = trail

    def _outputs(
        self,
        name: str,
        trails: list[Trail],
        inputs: Sequence[Any],
        attributes: Mapping[str, Any],
        outputs: Sequence[Any],
    ) -> list[Trail]:
        """Return the trail of each output from those of the inputs, by the type of the op."""
        if name in VALUELESS:
            return [Trail(born=self.call)] * len(outputs)
        base = self._passed_on(name, trails, outputs)
        if name in IDENTITY:
            return [trail if _is_float(tensor) else base for tensor, trail in zip(outputs, trails, strict=True)]
        recurrent = [trail for trail in trails if trail.recurrent]
        if not recurrent:
            return [base] * len(outputs)
        planes = None
        if name in MOVES:
            planes = _moved_planes(name, trails, inputs, attributes, outputs)
        elif name in ELEMENTWISE:
            planes = _blended_planes(trails, outputs)
        every: Sources = frozenset().union(*map(self.sources, trails))
        # Random numbers beside a state in one tensor leave it as it is; random places do not.
        beside = [t for tensor, t in zip(inputs, trails, strict=True) if name not in MOVES or not _is_float(tensor)]
        meets_noise = any(trail.random for trail in beside if not trail.recurrent)
        state = replace(
            base,
            pool=every if planes is None else frozenset().union(*(trail.pool for trail in trails)),
            transformed=planes is None or name in ELEMENTWISE or any(trail.transformed for trail in trails),
            noisy=every if meets_noise else frozenset().union(*(trail.noisy for trail in recurrent)),
            opaque=next((t.opaque for t in recurrent if t.opaque), "") or (name if name.startswith(OPAQUE) else ""),
            born=None,
        )
        return [
            replace(state, planes=of_output) if _is_float(tensor) else base
            for tensor, of_output in zip(outputs, planes or [()] * len(outputs), strict=True)
        ]

    def _passed_on(self, name: str, trails: Sequence[Trail], outputs: Sequence[Any]) -> Trail:
        """Return the part of a trail that passes through any op, recurrent or not."""
        origins: frozenset[Any] = frozenset().union(*(trail.origins for trail in trails))
        if outputs and not _is_float(outputs[0]):
            origins = frozenset(origin for origin in origins if isinstance(origin, str))  # a sampled token is no state
        moved = next((t for t in trails if not t.recurrent), None) if name in IDENTITY | MOVES else None
        return Trail(
            random=any(word in name for word in RANDOM) or any(trail.random for trail in trails),
            variable=moved is not None and moved.variable,
            born=self.call if moved is None else moved.born,
            origins=origins,
        )


def _moved_planes(
    name: str, trails: list[Trail], inputs: Sequence[Any], attributes: Mapping[str, Any], outputs: Sequence[Any]
) -> list[tuple[Labels, ...]] | None:
    """Return the planes of each output of an op that moves elements: the same op with labels in their place."""
    settings = {key: value for key, value in attributes.items() if value is not None}
    settings |= dict.fromkeys(settings.keys() & {"T", "Tparams"}, tf.int64.as_datatype_enum)
    flat = tuple(part for setting in settings.items() for part in setting)
    moved = []
    for plane in range(max(len(trail.planes) for trail in trails)):
        arguments = []
        for trail, tensor in zip(trails, inputs, strict=True):
            if tensor.dtype != outputs[0].dtype:  # places, axes, sizes
                arguments.append(tensor)
            else:
                has_labels = plane < len(trail.planes)
                labels = trail.planes[plane] if has_labels else np.full(tuple(tensor.shape), UNLABELLED, np.int64)
                arguments.append(tf.constant(labels - UNLABELLED))  # 0 is no label then: an op may pad with it
        try:  # a private part of TensorFlow, like the op callbacks: it runs one op past them
            results = execute.quick_execute(name, len(outputs), arguments, flat, context.context())
        except tf.errors.OpError:
            return None  # it does not move whole numbers: the sources stay, the places go
        moved.append([each.numpy() + UNLABELLED for each in results])
    return [tuple(plane[at] for plane in moved if (plane[at] >= 0).any()) for at in range(len(outputs))]


def _blended_planes(trails: list[Trail], outputs: Sequence[Any]) -> list[tuple[Labels, ...]] | None:
    """Return the planes of an op that works element by element: labels keep their places, values change."""
    planes: list[Labels] = []
    for plane in (plane for trail in trails for plane in trail.planes):
        try:
            wide = np.broadcast_to(plane, tuple(outputs[0].shape))
        except ValueError:
            return None
        if not any(np.array_equal(wide, other) for other in planes):
            planes.append(wide)
    return [tuple(planes)] if len(planes) <= _MOST_PLANES else None


def _is_float(tensor: Any) -> bool:
    dtype = getattr(tensor, "dtype", None)
    return dtype is not None and (dtype.is_floating or dtype.is_complex or dtype.name == "variant")


def _values(tensor: Any) -> NDArray[Any] | None:
    if not getattr(getattr(tensor, "dtype", None), "is_floating", False):
        return None
    values = np.asarray(tensor.numpy())  # np.asarray fails for one number of bfloat16
    return values if np.issubdtype(values.dtype, np.floating) else values.astype(np.float32)


def _bytes(tensor: Any) -> bytes:
    try:
        values = np.ascontiguousarray(np.asarray(tensor))
    except (ValueError, TypeError, RuntimeError):  # a variant has no values
        return b""
    return f"{values.dtype}{values.shape}".encode() + values.tobytes()
