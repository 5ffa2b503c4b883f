"""Records → page: every file of `sections/` looks at all records and gives a section, or nothing."""

from collections.abc import Sequence
from types import ModuleType

from rnneval._version import __version__
from rnneval.registry import modules
from rnneval.render.report import sections
from rnneval.render.report.blocks import Page
from rnneval.render.report.given import Given, subjects, sweeps
from rnneval.render.report.verdict import claims_of
from rnneval.render.words import counted

_NAMED = 3


def page_of(given: Sequence[Given], title: str | None = None) -> Page:
    """Say everything that the records say.

    Args:
        given: Any mix of records, in the order in which they are to be told.
        title: Of the page; by default what it is about.
    """
    found = (module.section(given) for module in all_sections())
    return Page(
        title=title or _title(given),
        claims=claims_of(given),
        sections=tuple(section for section in found if section is not None),
        records=tuple(each.name for each in given),
        rnneval=__version__,
    )


def all_sections() -> tuple[ModuleType, ...]:
    """Every file of the folder, in the order of its `ORDER`."""
    return tuple(sorted(modules(sections.__name__), key=lambda module: (module.ORDER, module.__name__)))


def _title(given: Sequence[Given]) -> str:
    if found := sweeps(given):
        return counted(sum(len(each.record.frame) for each in found), "checkpoint")
    names = [model.name for model in subjects(given)] or [each.label for each in given]
    if len(names) > _NAMED:
        return f"{len(names)} models"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
