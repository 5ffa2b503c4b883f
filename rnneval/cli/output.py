"""Files of results, whose endings say their format: JSON, CSV or Markdown."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pandas as pd

    from rnneval.render.document import Block

ENDINGS = (".json", ".csv", ".md")


class Tabular(Protocol):
    """A result that is a table as well."""

    def to_frame(self) -> "pd.DataFrame":
        """Return the table."""


def write_results(
    paths: Iterable[str], result: Tabular, encoded: str, document: "Callable[[], Iterable[Block]]"
) -> None:
    """Write a result to files, each completely or not at all.

    Args:
        paths: `.csv` gets the table of the result, `.md` what the terminal shows; any other ending the JSON.
        result: The result.
        encoded: The result as JSON.
        document: Function that makes the document which the terminal shows.

    Raises:
        RecordError: a file cannot be written.
    """
    from rnneval.records import write_text

    for path in paths:
        ending = Path(path).suffix.lower()
        if ending == ".csv":
            text = str(result.to_frame().to_csv(index=False))
        elif ending == ".md":
            from rnneval.render.markdown import markdown

            text = markdown(document())
        else:
            text = encoded
        write_text(text, path)
