"""The trainable variables of a model, by layer: named as in every record."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rnneval.models.layers import key_of, walk_below


@dataclass(frozen=True, kw_only=True, eq=False)
class Column:
    """One variable of one layer."""

    layer: str
    """`model` for a variable that belongs to no layer."""
    variable: str
    """`kernel`, `recurrent_kernel`, `bias`, `embeddings`, …"""
    tensor: Any = field(repr=False)


def columns_of(model: Any) -> tuple[Column, ...]:
    """Name every trainable variable, in the order of the model's own list."""
    owners: dict[int, str] = {}
    for path, layer in walk_below(model):  # a layer after the one that holds it: the innermost name stays
        owners |= dict.fromkeys(map(id, layer.trainable_variables), key_of(layer, path))
    variables = list(model.trainable_variables)
    names = [_name(variable) for variable in variables]
    keys = [(owners.get(id(variable), "model"), name) for variable, name in zip(variables, names, strict=True)]
    twice = {key for key, count in Counter(keys).items() if count > 1}
    return tuple(
        Column(layer=layer, variable=_longer(variable) if (layer, name) in twice else name, tensor=variable)
        for (layer, name), variable in zip(keys, variables, strict=True)
    )


def _name(variable: Any) -> str:
    return str(variable.name).rpartition("/")[2].removesuffix(":0")


def _longer(variable: Any) -> str:
    """The name with that of the cell before it, where a layer has several of one name."""
    return "/".join(str(getattr(variable, "path", variable.name)).split("/")[-2:])
