"""The ops that move elements without changing them, done in NumPy on labels.

A slice that is off by four, or a reshape that mixes batch and layer, is found with no special case: the labels end up
where the numbers do.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Move = Callable[[Sequence[Labels | None], Sequence[Any], Mapping[str, Any]], list[Labels]]
"""(labels of each input or None, inputs, attributes) → labels of each output; −1 is no label."""

IDENTITY = frozenset(
    {
        "Identity", "IdentityN", "StopGradient", "PreventGradient", "Cast", "CheckNumerics", "EnsureShape", "Snapshot",
        "Copy", "DeepCopy",
    }
)  # fmt: skip


def _whole(labels: Labels | None, tensor: Any) -> Labels:
    return np.full(tuple(tensor.shape), -1, np.int64) if labels is None else labels


def _value(tensor: Any) -> Any:
    return np.asarray(tensor)


def _reshape(labels: Sequence[Labels | None], inputs: Sequence[Any], _: Mapping[str, Any]) -> list[Labels]:
    return [_whole(labels[0], inputs[0]).reshape(_value(inputs[1]).tolist())]


def _squeeze(labels: Sequence[Labels | None], inputs: Sequence[Any], attributes: Mapping[str, Any]) -> list[Labels]:
    axes = tuple(attributes.get("squeeze_dims") or ())
    return [np.squeeze(_whole(labels[0], inputs[0]), axes or None)]


def _expand(labels: Sequence[Labels | None], inputs: Sequence[Any], _: Mapping[str, Any]) -> list[Labels]:
    return [np.expand_dims(_whole(labels[0], inputs[0]), int(_value(inputs[1])))]


def _pack(labels: Sequence[Labels | None], inputs: Sequence[Any], attributes: Mapping[str, Any]) -> list[Labels]:
    wholes = [_whole(part, tensor) for part, tensor in zip(labels, inputs, strict=True)]
    return [np.stack(wholes, attributes.get("axis", 0))]


def _unpack(labels: Sequence[Labels | None], inputs: Sequence[Any], attributes: Mapping[str, Any]) -> list[Labels]:
    return list(np.moveaxis(_whole(labels[0], inputs[0]), attributes.get("axis", 0), 0))


def _concat(labels: Sequence[Labels | None], inputs: Sequence[Any], _: Mapping[str, Any]) -> list[Labels]:
    wholes = [_whole(part, tensor) for part, tensor in zip(labels[:-1], inputs[:-1], strict=True)]
    return [np.concatenate(wholes, int(_value(inputs[-1])))]


def _split(labels: Sequence[Labels | None], inputs: Sequence[Any], attributes: Mapping[str, Any]) -> list[Labels]:
    return list(np.split(_whole(labels[1], inputs[1]), attributes["num_split"], int(_value(inputs[0]))))


def _split_v(labels: Sequence[Labels | None], inputs: Sequence[Any], _: Mapping[str, Any]) -> list[Labels]:
    axis = int(_value(inputs[2]))
    sizes = _value(inputs[1]).astype(int)
    left = int(inputs[0].shape[axis]) - int(sizes[sizes >= 0].sum())
    return list(np.split(_whole(labels[0], inputs[0]), np.cumsum(np.where(sizes < 0, left, sizes))[:-1], axis))


def _slice(labels: Sequence[Labels | None], inputs: Sequence[Any], _: Mapping[str, Any]) -> list[Labels]:
    begin, size = _value(inputs[1]), _value(inputs[2])
    places = tuple(slice(b, None if s < 0 else b + s) for b, s in zip(begin, size, strict=True))
    return [_whole(labels[0], inputs[0])[places]]


def _strided_slice(
    labels: Sequence[Labels | None], inputs: Sequence[Any], attributes: Mapping[str, Any]
) -> list[Labels]:
    begin, end, stride = (_value(tensor) for tensor in inputs[1:4])

    def flag(mask: str, at: int) -> bool:
        return bool(int(attributes.get(mask, 0)) >> at & 1)

    places: list[Any] = []
    for at, (first, last, step) in enumerate(zip(begin, end, stride, strict=True)):
        if flag("ellipsis_mask", at):
            places.append(Ellipsis)
        elif flag("new_axis_mask", at):
            places.append(None)
        elif flag("shrink_axis_mask", at):
            places.append(int(first))
        else:
            places.append(
                slice(None if flag("begin_mask", at) else first, None if flag("end_mask", at) else last, step)
            )
    return [_whole(labels[0], inputs[0])[tuple(places)]]


def _transpose(labels: Sequence[Labels | None], inputs: Sequence[Any], _: Mapping[str, Any]) -> list[Labels]:
    return [np.transpose(_whole(labels[0], inputs[0]), _value(inputs[1]))]


def _gather(labels: Sequence[Labels | None], inputs: Sequence[Any], attributes: Mapping[str, Any]) -> list[Labels]:
    whole, places, axis = _whole(labels[0], inputs[0]), _value(inputs[1]), int(_value(inputs[2]))
    batch = int(attributes.get("batch_dims", 0) or 0)
    if not batch:
        return [np.take(whole, places, axis)]
    rows = [np.take(row, at, axis - 1) for row, at in zip(whole, places, strict=True)]  # batch_dims is 1
    if batch > 1:
        raise NotImplementedError("batch_dims above one")
    return [np.stack(rows)]


def _gather_nd(labels: Sequence[Labels | None], inputs: Sequence[Any], _: Mapping[str, Any]) -> list[Labels]:
    return [_whole(labels[0], inputs[0])[tuple(np.moveaxis(_value(inputs[1]), -1, 0))]]


def _tile(labels: Sequence[Labels | None], inputs: Sequence[Any], _: Mapping[str, Any]) -> list[Labels]:
    return [np.tile(_whole(labels[0], inputs[0]), _value(inputs[1]))]


def _reverse(labels: Sequence[Labels | None], inputs: Sequence[Any], _: Mapping[str, Any]) -> list[Labels]:
    return [np.flip(_whole(labels[0], inputs[0]), tuple(_value(inputs[1]).ravel().tolist()))]


def _roll(labels: Sequence[Labels | None], inputs: Sequence[Any], _: Mapping[str, Any]) -> list[Labels]:
    shift, axes = (tuple(np.ravel(_value(tensor)).tolist()) for tensor in inputs[1:3])
    return [np.roll(_whole(labels[0], inputs[0]), shift, axes)]


def _broadcast(labels: Sequence[Labels | None], inputs: Sequence[Any], _: Mapping[str, Any]) -> list[Labels]:
    return [np.broadcast_to(_whole(labels[0], inputs[0]), _value(inputs[1]).tolist())]


def _pad(labels: Sequence[Labels | None], inputs: Sequence[Any], _: Mapping[str, Any]) -> list[Labels]:
    return [np.pad(_whole(labels[0], inputs[0]), _value(inputs[1]), constant_values=-1)]


def _scatter_update(labels: Sequence[Labels | None], inputs: Sequence[Any], _: Mapping[str, Any]) -> list[Labels]:
    updated = _whole(labels[0], inputs[0]).copy()
    updated[tuple(np.moveaxis(_value(inputs[1]), -1, 0))] = _whole(labels[2], inputs[2])
    return [updated]


MOVES: Mapping[str, Move] = {
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "ExpandDims": _expand,
    "Pack": _pack,
    "Unpack": _unpack,
    "ConcatV2": _concat,
    "Split": _split,
    "SplitV": _split_v,
    "Slice": _slice,
    "StridedSlice": _strided_slice,
    "Transpose": _transpose,
    "GatherV2": _gather,
    "GatherNd": _gather_nd,
    "Tile": _tile,
    "ReverseV2": _reverse,
    "Roll": _roll,
    "BroadcastTo": _broadcast,
    "Pad": _pad,
    "PadV2": _pad,
    "TensorScatterUpdate": _scatter_update,
}

ELEMENTWISE = frozenset(
    {
        "Add", "AddV2", "AddN", "Sub", "Mul", "RealDiv", "Div", "DivNoNan", "TruncateDiv", "FloorDiv", "Mod",
        "FloorMod", "Pow", "Maximum", "Minimum", "MulNoNan", "SquaredDifference", "Neg", "Abs", "Sign", "Exp",
        "Expm1", "Log", "Log1p", "Sqrt", "Rsqrt", "Square", "Reciprocal", "Inv", "Tanh", "Sigmoid", "Relu", "Relu6",
        "LeakyRelu", "Elu", "Selu", "Softplus", "Softsign", "Erf", "Erfc", "Sin", "Cos", "Tan", "Asinh", "Atan",
        "Sinh", "Cosh", "Round", "Rint", "Floor", "Ceil", "ClipByValue", "Select", "SelectV2", "BiasAdd", "Xlogy",
        "Atan2", "FakeQuantWithMinMaxVars", "QuantizeAndDequantizeV2",
    }
)  # fmt: skip
"""The ops whose every output element is made of the input elements in its own place."""

RANDOM = ("Random", "TruncatedNormal", "Multinomial", "Bernoulli", "StatelessTruncated", "StatelessParameterized")
"""How the types of ops that draw numbers begin, or what is in them."""

VALUELESS = frozenset(["Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"])  # fmt: skip
"""The ops of whose input only the shape matters."""

OPAQUE = ("PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile", "If", "StatelessIf", "Case",
          "EagerPyFunc", "PyFunc", "PyFuncStateless", "XlaLaunch", "__inference_", "__forward_")  # fmt: skip
"""How the types of ops that hide a whole function begin."""
