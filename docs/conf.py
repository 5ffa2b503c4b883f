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

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "from_code"]
exclude_patterns = ["_build", "changelog.d"]
myst_enable_extensions = ["attrs_block", "colon_fence", "deflist"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

autodoc_mock_imports = ["keras", "tensorflow"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
python_maximum_signature_line_length = 80
nitpicky = True
# Types in signatures: values are documented as records, and NumPy's and Keras' types have their docs elsewhere.
nitpick_ignore_regex = [("py:(class|data|obj|exc)", ".*")]

html_theme = "furo"
html_title = f"rnneval {release}"
html_static_path = ["_static"]
html_css_files = ["rnneval.css"]
html_show_sphinx = False
html_copy_source = False
pygments_style = "friendly"
suppress_warnings = ["misc.highlighting_failure"]  # "…" stands for what an example leaves out, and is no Python
