"""The gallery of figures: which record of `docs/records` each is drawn from, and the commands for it.

    python docs/_ext/gallery.py

draws them anew into docs/_static/plots, each light and dark. The records are of the models
that the pages on the inside and on the gate measure, thinned out: norms at every 64th token, gradient norms by layer
alone. The history of states is of a small LSTM and GRU that read 60,000 characters of Tiny Shakespeare twelve times,
which is too often.
"""

import hashlib
import html
import json
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(DOCS.parent)] if str(DOCS.parent) not in sys.path else []

from rnneval.pages import page  # noqa: E402 - the checkout's, found by the line above
from rnneval.render import figures  # noqa: E402
from rnneval.render.figures._base import dark_of  # noqa: E402

RECORDS, PICTURES = DOCS / "records", DOCS / "_static" / "plots"
MADE = PICTURES / "made.json"
SIZE = (620 / 96, None, 96)
"""Width and height in inches, and CSS pixels an inch."""
TITLES = {
    "flow_matrix": "Where each state went",
    "loss_over_text": "Loss along the text",
    "learning_curve": "Loss by checkpoint",
    "passage": "An excerpt coloured by surprise",
    "comparison": "Differences and margins",
    "baselines": "The model among baselines",
    "kl_along_text": "A candidate beside its reference",
    "how_far": "How far a state holds",
    "loss_by_context": "Loss by length of context",
    "state_norms": "State norms, token by token",
    "gradient_through_time": "Gradients back through time",
    "gradient_history": "Gradient norms, step by step",
    "state_history": "Training, epoch by epoch",
}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One picture of the gallery."""

    figure: str
    record: str
    made_by: str
    """The command that writes such a record."""
    text: str | None = None
    more: str = ""
    """What is added to the name of its file, and to its heading."""

    @property
    def stem(self) -> str:
        """Beginning of the names of its files."""
        return f"{self.figure}{self.more and '-' + self.more}"

    @property
    def ending(self) -> str:
        """Format of its files; a figure that is text was photographed in a browser."""
        return "png" if self.text else "svg"

    def files(self) -> dict[str, str]:
        """Return the pictures by the names of their files."""
        light = figures.svg(self.drawn(), SIZE, clear=True)
        return {f"{self.stem}.svg": light, f"{self.stem}-dark.svg": dark_of(light)}

    def drawn(self) -> figures.Figure:
        """Return the figure, not drawn yet."""
        source: Any = figures.load(RECORDS / self.record)
        if self.text:
            source = replace(source, text=(RECORDS / self.text).read_bytes().decode())
        return figures.figure_of(source, self.figure)

    @property
    def command(self) -> str:
        """Command that draws it."""
        if self.text:
            return f"rnneval plot {self.record} --text {self.text}"
        return f"rnneval plot {self.record} --figure {self.figure} --out {self.figure}.svg"


_EVALUATE = "rnneval evaluate model.keras held_out.txt --out run.json"
_GATE = "rnneval gate lstm.run.json --baseline gru.run.json --allow accuracy=0.005 --out gate.json"
_TRACE = "rnneval trace model.keras held_out.txt --context --record trace.json --out trace.parquet"
_GRADIENTS = "rnneval gradients model.keras held_out.txt --out gradients.json"
_TRAINING = 'model.fit(…, callbacks=[rnneval.GradientNorms("grads.parquet")])'
_EPOCHS = 'model.fit(…, callbacks=[rnneval.StateNorms("states.parquet", "held_out.txt", vocabulary=tokens)])'
GALLERY = (
    Shown(figure="flow_matrix", record="wiring.json", made_by="rnneval check train.py:MyModel --out wiring.json"),
    Shown(figure="loss_over_text", record="run.json", made_by=_EVALUATE),
    Shown(
        figure="learning_curve", record="sweep.parquet",
        made_by="rnneval sweep training_checkpoints/ held_out.txt --vocab vocab.json --out results/",
    ),
    Shown(
        figure="passage", record="losses.parquet", text="passage.txt",
        made_by="rnneval evaluate model.keras passage.txt --losses losses.parquet",
    ),
    Shown(figure="comparison", record="gate.json", made_by=_GATE),
    Shown(figure="baselines", record="run.json", made_by=f"{_EVALUATE} --fit-on train.txt"),
    Shown(
        figure="kl_along_text", record="parity.json",
        made_by="rnneval parity reference.keras lost.onnx held_out.txt --vocab vocab.json --out parity.json",
    ),
    Shown(
        figure="how_far", record="how_far.json",
        made_by="rnneval evaluate model.pt held_out.txt --builder train.py:build --how-far --trained-at 64 "
        "--out how_far.json",
    ),
    Shown(figure="loss_by_context", record="trace.json", made_by=_TRACE),
    Shown(figure="state_norms", record="trace.parquet", made_by=_TRACE),
    Shown(figure="gradient_through_time", record="gradients.json", made_by=_GRADIENTS),
    Shown(figure="gradient_history", record="grads.parquet", made_by=_TRAINING),
    Shown(figure="gradient_history", record="broken.parquet", made_by=_TRAINING, more="broken"),
    Shown(figure="state_history", record="states.parquet", made_by=_EPOCHS),
)  # fmt: skip

DRAWN = [shown for shown in GALLERY if not shown.text]
"""Figures that are drawn; the others are text, of which a browser made the pictures."""


def picture(name: str) -> str:
    """Return one picture of the gallery for another page."""
    return _picture(next(shown for shown in DRAWN if shown.stem == name))


def _picture(shown: Shown) -> str:
    """Return a picture in the look of the reader's system, with its text alternative."""
    light, dark = (f"_static/plots/{shown.stem}{look}.{shown.ending}" for look in ("", "-dark"))
    alt = html.escape(" ".join(shown.drawn().alt.split()))
    size = "" if shown.text else f" {_size(light)}"
    return (
        f'<picture>\n<source media="(prefers-color-scheme: dark)" srcset="{dark}">\n'
        f'<img src="{light}" alt="{alt}"{size}>\n</picture>'
    )


def _size(picture: str) -> str:
    """Return width and height of a picture, so that the page keeps room for it before it is loaded."""
    head = (DOCS / picture).read_text(encoding="utf-8")[:1000]
    points = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', head)[0]
    width, height = (round(float(each) * 96 / 72) for each in points)  # CSS pixels
    return f'width="{width}" height="{height}"'


def gallery() -> str:
    """Return a section for each figure: what it shows, how to read the picture, the picture, and the commands."""
    return "\n\n".join(_section(shown) for shown in GALLERY)


def _section(shown: Shown) -> str:
    figure = shown.drawn()
    if shown.more:
        return f"A training run that went wrong:\n\n{_picture(shown)}"
    head = f"## {TITLES[shown.figure]} (`{shown.figure}`)"
    language = "python" if shown.made_by.startswith("model") else "console"
    prompt = "" if language == "python" else "$ "
    commands = f"```{language}\n{prompt}{shown.made_by}\n```\n\n```console\n$ {shown.command}\n```"
    return "\n\n".join([head, page(shown.figure).summary, figure.reading, _picture(shown), commands])


def versions() -> dict[str, str]:
    """Return the versions that the bytes of the pictures depend on, beside the records and the code."""
    import matplotlib as mpl
    import seaborn as sns

    return {"matplotlib": mpl.__version__, "seaborn": sns.__version__}


def main() -> None:
    """Draw every picture."""
    PICTURES.mkdir(exist_ok=True)
    made = {}
    for shown in DRAWN:
        for name, svg in shown.files().items():
            (PICTURES / name).write_text(svg, encoding="utf-8")
            made[name] = hashlib.sha256(svg.encode()).hexdigest()
    MADE.write_text(json.dumps({"versions": versions(), "sha256": made}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
