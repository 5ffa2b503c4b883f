"""What `rnneval trace` and `rnneval gradients` take alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from rnneval.cli.options import KERNEL, WIRING_FIRST, F, grouped, require, rows_of


@dataclass(frozen=True, kw_only=True)
class InsideChoices:
    """How is looked, apart from the text and the checkpoint."""

    threshold: tuple[str, ...]
    streams: str
    kernel: str
    tolerance: float
    seed: int
    no_check: bool
    declare: tuple[str, ...]

    def as_arguments(self) -> dict[str, Any]:
        """Give them as `rnneval.trace` and `rnneval.gradients` take them.

        Raises:
            UsageError: a threshold that is none.
        """
        return {
            "thresholds": parse_thresholds(self.threshold),
            "streams": rows_of(self.streams),
            "kernel": self.kernel,
            "tolerance": self.tolerance,
            "seed": self.seed,
            "check": not self.no_check,
            "declare": self.declare,
        }


_INSIDE = (
    click.option(
        "--threshold", multiple=True, metavar="RULE=VALUE", help="Another threshold of a finding; see explain."
    ),
    click.option("--streams", default="auto", show_default=True, metavar="N|auto", help="Rows side by side."),
    KERNEL,
    click.option("--tolerance", default=1e-5, show_default=True, help="When two states count as equal."),
    click.option("--seed", default=0, show_default=True, help="Which row is audited, and where is looked closer."),
    *WIRING_FIRST,
)


def inside_options(command: F) -> F:
    """Add the options; they arrive as one argument, `looking`."""
    return grouped(command, _INSIDE, InsideChoices, "looking")


def parse_thresholds(given: Sequence[str]) -> dict[str, float]:
    """Read `RULE=VALUE`.

    Raises:
        UsageError: not of this form, or not a number.
    """
    found = {}
    for item in given:
        name, equals, value = item.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            require(False, f"--threshold {item!r}: give RULE=NUMBER, such as dead-units=0.1")
        require(equals, f"--threshold {item!r}: give RULE=NUMBER, such as dead-units=0.1")
    return found
