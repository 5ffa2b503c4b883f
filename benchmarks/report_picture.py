"""The picture of a report that docs/report.md shows: a screen in light, a phone in dark.

    rnneval demo --out out
    python benchmarks/report_picture.py out/wrong-stack.*.json out/right-stack.*.json out/one-layer.*.json out/gate.json

Writes docs/_static/report.png. Wants Chromium and the extra `browser`.
"""

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from playwright.sync_api import sync_playwright

OUT = Path(__file__).resolve().parents[1] / "docs" / "_static" / "report.png"
SCREEN, PHONE = (1120, 880), (360, 740)
MARGIN, COLOURS = 28, 256


def shot(browser: Any, page: Path, size: tuple[int, int], look: str) -> Image.Image:
    """Give what a person sees on opening the page."""
    tab = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=look)
    tab.goto(page.as_uri())
    image = Image.open(io.BytesIO(tab.screenshot())).convert("RGB")
    tab.close()
    return image


def framed(image: Image.Image) -> Image.Image:
    """Draw a thin line around it, so that a light page has an edge on a light page."""
    ImageDraw.Draw(image).rectangle((0, 0, image.width - 1, image.height - 1), outline="#9aa1ac")
    return image


def side_by_side(screen: Image.Image, phone: Image.Image) -> Image.Image:
    """Put the phone before the lower right corner of the screen."""
    width, height = screen.width + phone.width * 6 // 7 + 2 * MARGIN, screen.height + 2 * MARGIN
    sheet = Image.new("RGB", (width, height), "#e9ebef")
    sheet.paste(framed(screen), (MARGIN, MARGIN))
    sheet.paste(framed(phone), (width - phone.width - MARGIN, height - phone.height - MARGIN // 2))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", nargs="+")
    parser.add_argument("--title", default="One layer, a wrong stack and a right one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        page = Path(folder) / "report.html"
        options = ["--title", given.title, "--out", str(page)]
        subprocess.run([sys.executable, "-m", "rnneval", "report", *given.records, *options], check=True)
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        sheet = side_by_side(shot(browser, page, SCREEN, "light"), shot(browser, page, PHONE, "dark"))
        browser.close()
    sheet.quantize(COLOURS, dither=Image.Dither.NONE).save(OUT, optimize=True)
    print(f"{OUT}: {sheet.width} × {sheet.height}, {OUT.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
