"""Text of the demo: the topics of Python's own help, 0.5 MB of English, in the order of their names.

`python -m rnneval.demo.text FILE` writes it.
"""

import sys
from pathlib import Path


def topics_text() -> str:
    r"""Return the text of `pydoc_data.topics`. It differs between versions of Python: records hold its hash.

    Example:
        >>> text = topics_text()
        >>> len(text) > 400_000, "The \"for\" statement" in text
        (True, True)
    """
    from pydoc_data.topics import topics

    return "\n".join(topics[name].strip() + "\n" for name in sorted(topics))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(topics_text(), encoding="utf-8", newline="")
