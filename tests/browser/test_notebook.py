"""What a notebook shows, in the dark and light pages of the programs that show it."""

import pytest

from tests.browser.test_report import serious
from tests.render.test_documents import VALUES

pytestmark = pytest.mark.browser

HOSTS = {
    "Jupyter, dark": ('<body data-jp-theme-light="false"', "#111111", "#e0e0e0"),
    "VS Code, dark": ('<body class="vscode-dark"', "#1e1e1e", "#cccccc"),
}


@pytest.mark.parametrize("host", HOSTS)
def test_it_can_be_read_and_stays_in_its_cell(chromium, host):
    body, paper, ink = HOSTS[host]
    cells = "".join(f"<section>{value._repr_html_()}</section>" for value in VALUES.values())
    page = chromium.new_page(viewport={"width": 700, "height": 900})
    host_page = f"{body} style='background:{paper};color:{ink}'><main>{cells}</main>"
    page.set_content(f"<!doctype html><html lang=en><title>x</title>{host_page}")
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
    page.close()
