"""A real Chromium, driven by playwright: Debian's package, or what RNNEVAL_CHROMIUM names."""

import os
import shutil

import numpy as np
import pytest

from tests.render.figures.made import losses
from tests.render.report.making import all_kinds, full_run, given, gradients, three_models, wrong_wiring
from tests.render.report.test_html import HOSTILE, planted, whole

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="session")
def chromium():
    """The browser; that there is none is a failure, since these tests run only where they are asked for."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("RNNEVAL_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    assert path is not None, "no Chromium: apt-get install chromium, or name one in RNNEVAL_CHROMIUM"
    with sync_playwright() as driver:
        # No sandbox: in a container Chromium has none, and the pages are our own.
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def pages(tmp_path_factory):
    """Pages on the disk: of every kind of record, and one that is made of nothing but hostile texts."""
    folder = tmp_path_factory.mktemp("pages")
    full = full_run()
    kinds = [*all_kinds(), *given(full=full, full_gradients=gradients(full), long=wrong_wiring(findings=_many()))]
    kinds += given(losses=losses("Surprise has a colour.\n" * 9, np.arange(206) % 14))
    hostile = [each for text in HOSTILE for each in planted(text)]
    made = {"kinds": kinds, "hostile": hostile, "three": three_models()}
    for name, records in made.items():
        (folder / f"{name}.html").write_text(whole(records), encoding="utf-8")
    return folder


def _many():
    return wrong_wiring().findings * 9


@pytest.fixture
def opened(chromium, pages):
    """Open a page as a person does, from the disk; whatever it complains of, loads or asks is kept."""
    contexts = []

    def opened(name="kinds", *, width=1280, height=900, **options):
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.said, page.asked, page.refused, page.dialogs = [], [], [], []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("requestfailed", lambda request: page.refused.append((request.url, request.failure)))
        page.on("dialog", lambda dialog: (page.dialogs.append(dialog.message), dialog.dismiss()))
        page.goto((pages / f"{name}.html").as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
