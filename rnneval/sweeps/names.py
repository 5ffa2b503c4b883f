"""What a checkpoint's name says: its place on a learning curve, and a name for its record."""

import re
from dataclasses import dataclass

_ENDING = re.compile(r"(\.(weights|keras|h5|hdf5|ckpt|tf))+$", re.IGNORECASE)
_EPOCH = re.compile(r"(?<![a-z])(?:epochs?|ep|e)[-_=. ]?(\d+)", re.IGNORECASE)
_STEP = re.compile(r"(?<![a-z])(?:(?:global_?)?steps?|iter(?:ation)?s?|batch|it|s)[-_=. ]?(\d+)", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")
_DECIMAL = re.compile(r"\d+\.\d+")
_LONGEST = 80


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a checkpoint stands in its training."""

    run: str
    """The folder that it lies in, from the swept folder on; "" for that folder itself."""
    epoch: int | None
    step: int | None


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """Give a key that sorts numbers by their value.

    Example:
        >>> sorted(["ckpt_10", "ckpt_9", "a"], key=natural)
        ['a', 'ckpt_9', 'ckpt_10']
    """
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part)) if part.isdecimal() and part.isascii() else (1, part) for part in parts if part)


def place_of(name: str) -> Place:
    """Read the epoch or the step out of a path.

    `epoch` and `step` (or `iter`, `batch`) name themselves; a number alone is the epoch, as in TensorFlow's tutorials
    (`ckpt_{epoch}`) and in the example of Keras' ModelCheckpoint (`{epoch:02d}-{val_loss:.2f}`); a number with a point
    is a loss. Where the file's name says nothing, its folder is asked.

    Example:
        >>> for name in ("ckpt_7", "model.05-1.23.h5", "a/epoch_3/model.keras", "lstm/global_step1200", "best.keras"):
        ...     place = place_of(name)
        ...     place.run, place.epoch, place.step
        ('', 7, None)
        ('', 5, None)
        ('a', 3, None)
        ('lstm', None, 1200)
        ('', None, None)
    """
    *folders, last = name.split("/")
    epoch, step = _numbers(last, bare=True)
    if epoch is None and step is None and folders:
        epoch, step = _numbers(folders[-1], bare=False)
        if epoch is not None or step is not None:
            folders = folders[:-1]
    return Place(run="/".join(folders), epoch=epoch, step=step)


def _numbers(name: str, *, bare: bool) -> tuple[int | None, int | None]:
    stem = _ENDING.sub("", name)
    epoch, step = _EPOCH.search(stem), _STEP.search(stem)
    if epoch is None and step is None and bare:
        epoch = _bare(stem)
    return _number(epoch), _number(step)


def _bare(stem: str) -> re.Match[str] | None:
    """The first number that is not part of a decimal: `05` of `model.05-1.23`, and none of `loss1.23`."""
    for found in _NUMBER.finditer(stem):
        decimals = [whole.span() for whole in _DECIMAL.finditer(stem)]
        if not any(start <= found.start() < stop for start, stop in decimals):
            return found
    return None


def _number(found: re.Match[str] | None) -> int | None:
    if found is None:
        return None
    digits = found[found.lastindex or 0]
    if len(digits) > 18:  # more digits than int64 holds: a hash, or a date with time
        return None
    return int(digits)


def record_name(name: str, key: str) -> str:
    """Give the file name of a checkpoint's record: what a person knows it by, and what makes it the only one.

    Example:
        >>> record_name("run a/ckpt_7.keras", "0123456789abcdef" * 4)
        'run_a_ckpt_7.keras-0123456789abcdef.json'
    """
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._") or "checkpoint"
    return f"{readable[-_LONGEST:]}-{key[:16]}.json"
