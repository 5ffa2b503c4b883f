"""What all records have in common."""

import os

import msgspec


class Value(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A frozen, keyword-only value of plain data.

    A field whose default is `None` may be absent: it is left out of the file, and `null` is never written nor read.
    No field has another default, so that every other field is always in the file. (msgspec does not hand `frozen` and
    `kw_only` down in a way that type checkers see, so each class says them again.)
    """


class Shown(Value, frozen=True, kw_only=True):
    """A value that a notebook shows as the table that the terminal prints."""

    def _repr_html_(self) -> str:
        from rnneval.render.notebook import fragment  # upwards: a value knows that it can be shown, not how

        return fragment(self)


class Stored(Shown, frozen=True, kw_only=True):
    """A value that is a file of its own."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the record to `path`, whole or not at all; see `rnneval.records.write`."""
        from rnneval.records import write  # upwards, for `run.save("run.json")` alone

        write(self, path)
