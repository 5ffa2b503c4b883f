"""Records in, one self-contained HTML page out.

`page_of(given)` says what there is to say, `draw(page, given)` draws its figures, `html_of(page, drawn)` writes it:
a value, images and text, and no disk is touched.
"""

from rnneval.render.report.blocks import Page
from rnneval.render.report.given import Given
from rnneval.render.report.html import html_of
from rnneval.render.report.page import page_of
from rnneval.render.report.pictures import draw

__all__ = ["Given", "Page", "draw", "html_of", "page_of"]
