"""Show the record of benchmarks/layers.py: the tables of docs/evidence/layers.md and its figures.

    PYTHONPATH=. python benchmarks/layers_page.py [--figures docs/_static]

reads benchmarks/layers.json and prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

RECORD = Path(__file__).resolve().parent / "layers.json"
COMPARISONS = (("gru-1", "gru-2"), ("gru-2", "gru-3"), ("lstm-1", "lstm-2"))
"""Neighbouring depths: the family of Holm's correction."""
ARMS = tuple(dict.fromkeys(arm for pair in COMPARISONS for arm in pair))
WRONG = "gru-2-shared"
LEVEL = 0.05
CLUSTERS = 8
MATTERS = 0.02
"""Nats per character, 2 % of the perplexity: a smaller difference counts as none. Chosen before the training."""
Runs = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The comparison of two neighbouring depths: deeper − shallower, in nats per character."""

    shallow: str
    deep: str
    difference: float
    se_seeds: float
    se_text: float
    df: float

    @property
    def p(self) -> float:
        """The p-value of no difference."""
        return float(2 * stdtr(self.df, -abs(self.difference) / math.hypot(self.se_seeds, self.se_text)))

    def reach(self, level: float) -> float:
        """Return half the width of the interval with this error rate."""
        return float(stdtrit(self.df, 1 - level / 2) * math.hypot(self.se_seeds, self.se_text))


def of_arm(record: Mapping[str, Any], arm: str) -> Runs:
    """Return the runs of an arm, by seed."""
    return sorted((run for run in record["runs"].values() if run["arm"] == arm), key=lambda run: run["seed"])


def loss(run: Mapping[str, Any]) -> float:
    """Return the held-out loss of a run, in nats per character."""
    return float(run["total_nats"] / run["tokens"])


def trained(run: Mapping[str, Any]) -> float:
    """Return the training loss of the epoch that was kept, with dropout."""
    return float(run["epochs"][run["kept_epoch"] - 1]["training_nats"])


def answer(record: Mapping[str, Any], shallow: str, deep: str) -> Answer:
    """Compare two arms with the method of the gate, written out: text and seeds are two parts of the error.

    The text's part is a t-test on eight runs of consecutive blocks; its jackknife differs from the plain standard error
    only where these have unequal sizes.
    """
    sides = [of_arm(record, arm) for arm in (shallow, deep)]
    tokens = np.array_split(np.array(record["blocks"]["tokens"], dtype=np.float64), CLUSTERS)
    mean = [np.mean([run["nats"] for run in runs], axis=0) for runs in sides]
    nats = np.array([part.sum() for part in np.array_split(mean[1] - mean[0], CLUSTERS)])
    sizes = np.array([part.sum() for part in tokens])
    left_out: NDArray[np.float64] = (nats.sum() - nats) / (sizes.sum() - sizes)
    text = (CLUSTERS - 1) / CLUSTERS * float(np.square(left_out - left_out.mean()).sum())
    effective = sizes.sum() ** 2 / np.square(sizes).sum()
    of_seeds = [(float(np.var([loss(run) for run in runs], ddof=1)) / len(runs), len(runs) - 1) for runs in sides]
    parts = [(text, effective - 1), *of_seeds]
    return Answer(
        shallow=shallow,
        deep=deep,
        difference=float(nats.sum() / sizes.sum()),
        se_seeds=math.sqrt(sum(variance for variance, _ in of_seeds)),
        se_text=math.sqrt(text),
        df=sum(variance for variance, _ in parts) ** 2 / sum(variance**2 / free for variance, free in parts),
    )


def answers(record: Mapping[str, Any]) -> list[tuple[Answer, float, str]]:
    """Return each comparison with its level in Holm's procedure, and what it says."""
    found = [answer(record, *pair) for pair in COMPARISONS]
    order = sorted(range(len(found)), key=lambda i: found[i].p)
    levels = {place: LEVEL / (len(found) - rank) for rank, place in enumerate(order)}
    return [(each, levels[i], verdict(each, levels[i], len(found))) for i, each in enumerate(found)]


def verdict(of: Answer, level: float, family: int) -> str:
    """Return `helps`, `hurts`, `no difference larger than d`, or `cannot tell`."""
    if of.p <= level:
        return "helps" if of.difference < 0 else "hurts"
    bound = abs(of.difference) + of.reach(LEVEL / family)
    return f"no difference larger than {bound:.3f}" if bound <= MATTERS else "cannot tell"


def title(arm: str) -> str:
    """Return the name of an arm in tables.

    >>> title("gru-2"), title("gru-2-shared")
    ('GRU × 2', 'GRU × 2, one state')
    """
    kind, layers, *shared = arm.split("-")
    return f"{kind.upper()} × {layers}{', one state' if shared else ''}"


def signed(value: float) -> str:
    """Return a difference with three decimals, and a minus that is one."""
    return f"{value:+.3f}".replace("-", "−")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose first column holds words and whose others hold numbers."""
    kept = ([row[0].replace(" × ", "\u00a0×\u00a0"), *row[1:]] for row in rows)  # names stay on one line
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *kept]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def losses(record: Mapping[str, Any]) -> str:
    """Return the table of losses, an arm a row."""
    head = ["", "units", "parameters", "mean loss", "SD of seeds", "bits per char."]
    rows = []
    for arm in ARMS:
        runs = of_arm(record, arm)
        values = np.array([loss(run) for run in runs])
        figures = [values.mean(), values.std(ddof=1)]
        count = [str(runs[0]["units"]), f"{runs[0]['parameters']:,}"]
        bits = f"{values.mean() / math.log(2):.3f}"
        fitted = f"{np.mean([trained(run) for run in runs]):.3f}"
        rows.append([title(arm), *count, *(f"{figure:.4f}" for figure in figures), bits, fitted])
    return table([*head, "training"], rows)


def differences(record: Mapping[str, Any]) -> str:
    """Return the table of comparisons, deeper − shallower."""
    rows = []
    for each, level, said in answers(record):
        low, high = (signed(each.difference + sign * each.reach(LEVEL)) for sign in (-1, 1))
        critical = float(stdtrit(each.df, 1 - LEVEL / 2))
        names = f"{title(each.deep)} − {title(each.shallow)}"
        errors = [f"{critical * se:.3f}" for se in (each.se_seeds, each.se_text)]
        p = f"{each.p:.1g}" if each.p < 0.001 else f"{each.p:.3f}"
        rows.append([names, signed(each.difference), f"{low} to {high}", *errors, p, f"{level:.3f}", f"**{said}**"])
    head = [
        "deeper − shallower",
        "difference",
        "95 % interval",
        "± of seeds",
        "± of text",
        "p",
        "Holm's level",
        "answer",
    ]
    return table(head, rows)


def wrong_stack(record: Mapping[str, Any]) -> str:
    """Return the table of the stack whose layers exchange their states, beside the right one."""

    def without_leak(run: Mapping[str, Any]) -> float:
        nats = run["token_by_token_nats"]
        return loss(run) if nats is None else float(nats / run["tokens"])

    def validated(run: Mapping[str, Any]) -> float:
        return float(run["epochs"][run["kept_epoch"] - 1]["validation_nats"])

    def mean(arm: str, of: Callable[[Mapping[str, Any]], float]) -> str:
        values = [of(run) for run in of_arm(record, arm)]
        return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"

    names = {
        "training loss, with dropout": trained,
        f"validation loss, segments of {record['recipe']['segment']}": validated,
        "held out, as the model computes it": loss,
        "held out, with the leak removed (token by token)": without_leak,
    }
    head = ["mean over seeds (lowest to highest)", title(WRONG), title("gru-2")]
    return table(head, ([name, mean(WRONG, of), mean("gru-2", of)] for name, of in names.items()))


def draw(record: Mapping[str, Any], folder: Path) -> None:
    """Draw both figures."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    import seaborn as sns

    sns.set_theme(style="whitegrid", rc={"svg.fonttype": "none", "svg.hashsalt": "rnneval", "font.size": 10})
    for name, drawn in (("layers-depth", _depth), ("layers-training", _training)):
        figure = drawn(record)
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
        plt.close(figure)


def _depth(record: Mapping[str, Any]) -> Any:
    """Draw the loss of every seed by depth, and the interval of each mean over the seeds."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    figure, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
    colours = dict(zip(("gru", "lstm"), sns.color_palette("colorblind", 2), strict=True))
    for place, arm in enumerate(ARMS):
        values = np.array([loss(run) for run in of_arm(record, arm)])
        colour = colours[arm.split("-")[0]]
        axes.plot(place + np.linspace(-0.12, 0.12, values.size), values, "o", color=colour, alpha=0.55, markersize=6)
        reach = stdtrit(values.size - 1, 0.975) * values.std(ddof=1) / math.sqrt(values.size)
        axes.errorbar(place + 0.25, values.mean(), reach, color=colour, fmt="D", markersize=5, capsize=4)
    axes.set_xticks(range(len(ARMS)), [title(arm) for arm in ARMS])
    axes.set_ylabel("held-out loss, nats per character")
    axes.set_xlim(-0.5, len(ARMS) - 0.4)
    axes.grid(visible=False, axis="x")
    axes.set_title("Points: seeds. Diamond: mean and 95 % interval over seeds. 100,000 parameters", fontsize=10)
    return figure


def _training(record: Mapping[str, Any]) -> Any:
    """Draw the validation loss by epoch, a panel for each arm and a line for each seed."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    figure, panels = plt.subplots(2, 3, figsize=(8.5, 5), layout="constrained", sharex=True, sharey=True)
    training, validation = sns.color_palette("colorblind", 4)[2:]
    for axes, arm in zip(panels.flat, (*ARMS, WRONG), strict=True):
        for run in of_arm(record, arm):
            numbers = [epoch["epoch"] for epoch in run["epochs"]]
            for name, colour in (("training", training), ("validation", validation)):
                values = [epoch[f"{name}_nats"] for epoch in run["epochs"]]
                label = name if run["seed"] == 0 else None
                axes.plot(numbers, values, "o-", color=colour, alpha=0.6, markersize=3, linewidth=1, label=label)
        axes.set_title(title(arm), fontsize=10)
        axes.set_xticks(range(1, record["recipe"]["epochs"] + 1))
    panels.flat[0].legend(frameon=False, fontsize=9)
    figure.supxlabel("epoch", fontsize=10)
    figure.supylabel("loss, nats per character", fontsize=10)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=Path, help="folder to which the figures are written")
    figures = parser.parse_args().figures
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    print("\n\n".join(made(record) for made in (losses, differences, wrong_stack)))
    if figures is not None:
        draw(record, figures)


if __name__ == "__main__":
    main()
