"""Records in, one self-contained HTML page out.

`page_of(given)` decides what the page says, `draw(page, given)` draws its figures, `html_of(page, drawn)` writes it: a
value, images and text; none of them touches a disk.
"""

from rnneval.render.document import Page
from rnneval.render.html import html_of
from rnneval.render.report.given import Given, draw
from rnneval.render.report.page import page_of

__all__ = ["Given", "Page", "draw", "html_of", "page_of"]
