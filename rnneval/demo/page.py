"""Page of the demo, and the comparison on it: made from the records of the models, without TensorFlow."""

import seaborn as sns  # noqa: F401 - figures import it late, and this module is imported while the models train

from rnneval.demo.files import ONE, RIGHT, Files
from rnneval.gates.sides import Named
from rnneval.gates.verdicts import judge
from rnneval.records import read_run, write, write_text
from rnneval.render.figures import load
from rnneval.render.report import Given, draw, html_of, page_of


def compare(files: Files) -> None:
    """Judge whether the second layer helped."""
    candidate, baseline = (Named(name=name, record=read_run(files.run(name))) for name in (RIGHT, ONE))
    write(judge([candidate], [baseline]), files.comparison)


def report(files: Files) -> None:
    """Write one page with all records."""
    given = [Given(name=path.name, record=load(path)) for path in files.records()]
    page = page_of(given, "One layer, a wrong stack and a right one")
    write_text(html_of(page, draw(page, given)), files.page)
