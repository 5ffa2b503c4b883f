"""Comparison and page of the demo: made from the records of the models, without TensorFlow."""

import matplotlib.figure  # noqa: F401 - figures import it late, and this module is imported while the models train

from rnneval.demo.files import ONE, RIGHT, Files
from rnneval.gates.sides import NamedRecord
from rnneval.gates.verdicts import gate
from rnneval.records import read_run, write, write_text
from rnneval.render.figures import load
from rnneval.render.report import PageRecord, draw, html_of, page_of


def compare(files: Files) -> None:
    """Judge whether the second layer helped."""
    candidate, baseline = (NamedRecord(name=name, record=read_run(files.of(name, "run.json"))) for name in (RIGHT, ONE))
    write(gate([candidate], [baseline]), files.comparison)


def report(files: Files) -> list[str]:
    """Write one page with all records, and return what it says: the worst first."""
    given = [PageRecord(name=path.name, record=load(path)) for path in files.records()]
    page = page_of(given, "One layer, a wrong stack and a right one")
    write_text(html_of(page, draw(page, given)), files.page)
    return [claim.sentence for claim in page.claims]
