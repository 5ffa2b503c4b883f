"""Explanation of weights whose shapes are off by one or two: special tokens that the size of the vocabulary counts."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from rnneval.errors import RnnevalError, ShapePair, WeightShapeError
from rnneval.text import Vocabulary
from rnneval.usercode import Builder

_SPECIAL = {
    1: "one id more than it has tokens, most likely [UNK] (StringLookup puts it first) or the padding id 0",
    2: "two ids more than it has tokens, most likely the padding id 0 and [UNK] (TextVectorization puts them first)",
    -1: "one id less than it has tokens: most likely it was trained without [UNK] or padding",
    -2: "two ids less than it has tokens: most likely it was trained without [UNK] and padding",
}
_FILE = {
    1: "\"[UNK]\" first, as json.dump(lookup.get_vocabulary(), open('vocab.json', 'w')) of the StringLookup writes it",
    2: "\"\" and \"[UNK]\" first, as json.dump(layer.get_vocabulary(), open('vocab.json', 'w')) writes it",
    -1: "the tokens alone, without the special one",
    -2: "the tokens alone, without the special ones",
}


def explained(
    error: WeightShapeError, builder: Builder, vocabulary: Vocabulary | None, load: Callable[[Builder], Any]
) -> WeightShapeError:
    """Return the error with its likely cause, and with options under which every weight fits if there are such.

    Args:
        error: The error of loading the weights into the builder's model.
        builder: The builder.
        vocabulary: The vocabulary whose size the builder was offered.
        load: Function that builds a model and loads the weights into it; it raises an error if they do not fit.
    """
    sizes = _sizes(error.pairs)
    if sizes is None:
        return error
    seen, needed = sizes
    more = needed - seen
    fitting = next((each for each in _candidates(builder, seen, needed) if _fits(load, each[0])), None)
    message, options = str(error).rpartition(": ")[0], tuple[str, ...]()
    cause = f"the model has {seen} ids and the file {needed}, {_SPECIAL[more]}"
    if fitting is None:
        what = f"give the builder {needed} in place of {seen}"
    else:
        options = fitting[1]
        what = f"with {' '.join(options)} every weight of the file fits"
    return WeightShapeError(
        f"{message}: {cause}: {what}{_about_vocabulary(vocabulary, needed, more)}", pairs=error.pairs, options=options
    )


def _sizes(pairs: Sequence[ShapePair]) -> tuple[int, int] | None:
    """Return the size that the model has and that the file has, if all shapes differ in this size alone, by 1 or 2."""
    if any(len(held) != len(wanted) for _, held, wanted in pairs):
        return None
    differing = {(w, h) for _, held, wanted in pairs for h, w in zip(held, wanted, strict=True) if h != w}
    if len(differing) != 1:
        return None
    seen, needed = differing.pop()
    return (seen, needed) if abs(needed - seen) in {1, 2} else None


def _candidates(builder: Builder, seen: int, needed: int) -> list[tuple[Builder, tuple[str, ...]]]:
    """Return the builders that may make a model of the needed size, each with the options that ask for it."""
    sized = {
        "vocab_size",
        *(name for name, value in builder.arguments.items() if value == seen and name != "vocab_size"),
    }
    names = [name for name in builder.parameters() if name in sized]
    found: list[tuple[Builder, tuple[str, ...]]] = [
        (replace(builder, arguments={**builder.arguments, name: needed}), ("--builder-arg", f"{name}={needed}"))
        for name in names
    ]
    if not builder.run_module:
        found += [
            (replace(builder, values={**builder.values, name: needed}), ("--builder-global", f"{name}={needed}"))
            for name, value in builder.numbers().items()
            if value == seen
        ]
    return found


def _fits(load: Callable[[Builder], Any], builder: Builder) -> bool:
    try:
        load(builder)
    except RnnevalError:
        return False
    return True


def _about_vocabulary(vocabulary: Vocabulary | None, needed: int, more: int) -> str:
    """Return which vocabulary the model of the needed size is to be given."""
    if vocabulary is not None and vocabulary.first_id + vocabulary.size == needed:
        return ""
    if vocabulary is not None and more == 1:
        return f"; the ids of its tokens then begin at 1, or give --vocab FILE with {needed} tokens, {_FILE[more]}"
    return f"; as vocabulary give --vocab FILE with {needed} tokens, {_FILE[more]}"
