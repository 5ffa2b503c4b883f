"""Keras' `get_file` without its download: the file that an earlier run of the user's script brought."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rnneval.errors import CheckpointError


def places(
    fname: str | None = None,
    origin: str | None = None,
    untar: bool = False,
    *_: Any,
    extract: bool = False,
    cache_subdir: str = "datasets",
    cache_dir: str | None = None,
    **__: Any,
) -> Sequence[Path]:
    """Return where Keras keeps the file of these arguments, the most usual place first."""
    home = Path(cache_dir) if cache_dir else Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    name = Path(fname or str(origin).rpartition("/")[2]).name
    base = home / cache_subdir / name
    unpacked = (base.with_name(f"{name}_extracted"), base.with_name(name.partition(".")[0]))
    return (*unpacked, base) if untar or extract else (base,)


def cached_file(*args: Any, **keywords: Any) -> str:
    """Return the path of a file in Keras' cache, as `keras.utils.get_file` does; nothing is downloaded.

    Raises:
        CheckpointError: it is not there.
    """
    looked = places(*args, **keywords)
    for path in looked:
        if path.exists():
            return str(path)
    raise CheckpointError(
        f"get_file: {looked[-1].name} is not in Keras' cache ({looked[-1]}), and nothing is downloaded: give "
        "--builder-global NAME=FILE in place of the statement"
    )
