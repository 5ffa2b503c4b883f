"""Sphinx: `sphinx-build -W -b html docs docs/_build/html`. Nothing is fetched, and TensorFlow is not needed."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

from rnneval import __version__  # noqa: E402 - the checkout's, found by the line above

project = "rnneval"
author = "The rnneval developers"
project_copyright = f"2026, {author}"
release = version = __version__

extensions = ["myst_parser", "from_code"]
exclude_patterns = ["_build", "changelog.d"]
myst_heading_anchors = 4
myst_links_external_new_tab = False
nitpicky = True

html_theme = "furo"
html_title = f"rnneval {release}"
html_static_path = ["_static"]
html_css_files = ["rnneval.css"]
html_show_sphinx = False
html_copy_source = False
pygments_style = "friendly"
suppress_warnings = ["misc.highlighting_failure"]  # "…" stands for what an example leaves out, and is no Python
