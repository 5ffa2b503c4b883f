"""Page of the demo, and the comparison on it: made from the records of the models, without TensorFlow."""

from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import seaborn as sns  # noqa: F401 - figures import it late, and this module is imported while the models train
from msgspec import structs

from rnneval.demo.files import ONE, RIGHT, Files
from rnneval.gates.sides import Named
from rnneval.gates.verdicts import judge
from rnneval.records import read_run, write, write_text
from rnneval.render.figures import load
from rnneval.render.html import Drawn
from rnneval.render.report import Given, Page, draw, html_of, page_of
from rnneval.sweeps.workers import Pool, Task, WorkerDiedError

_ELSEWHERE = 2
"""Sections, wiring and numbers, whose figures a worker draws, which has to import what draws first: about a third."""


def compare(files: Files) -> None:
    """Judge whether the second layer helped."""
    candidate, baseline = (Named(name=name, record=read_run(files.run(name))) for name in (RIGHT, ONE))
    write(judge([candidate], [baseline]), files.comparison)


def report(files: Files, pool: Pool) -> None:
    """Write one page with all records; a worker draws some of the figures."""
    page, given = _page(files)
    with ThreadPoolExecutor(1) as thread:
        elsewhere = thread.submit(_drawn_by, pool, files)
        here = draw(structs.replace(page, sections=page.sections[_ELSEWHERE:]), given)
        write_text(html_of(page, {**elsewhere.result(), **here}), files.page)


def _page(files: Files) -> tuple[Page, list[Given]]:
    given = [Given(name=path.name, record=load(path)) for path in files.records()]
    return page_of(given, "One layer, a wrong stack and a right one"), given


def _drawn_by(pool: Pool, files: Files) -> Mapping[str, Drawn]:
    """Have a worker draw the figures of the first sections."""
    (done,) = pool.run(deque([Task(key="draw", call=_draw, arguments=lambda: (files,))]))
    if isinstance(done.error, WorkerDiedError):
        return _draw(files)
    if done.error is not None:
        raise done.error
    found: Mapping[str, Drawn] = done.value
    return found


def _draw(files: Files) -> Mapping[str, Drawn]:
    page, given = _page(files)
    return draw(structs.replace(page, sections=page.sections[:_ELSEWHERE]), given)
