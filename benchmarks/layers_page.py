"""Write docs/layers.md and its figures from the record of benchmarks/layers.py. TensorFlow is not needed.

    PYTHONPATH=. python benchmarks/layers_page.py

reads benchmarks/layers.json, and writes docs/layers.md, docs/_static/layers-depth.svg and layers-training.svg.
"""

from __future__ import annotations

import hashlib
import json
import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from layers_answer import ARMS, MATTERS, Answer, answers, loss, of_arm
from scipy.special import stdtrit

from rnneval.gates.clusters import DRIFT_LIMIT
from rnneval.render import phrasing

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "benchmarks" / "layers.json"
PAGE = ROOT / "docs" / "layers.md"
FIGURES = ROOT / "docs" / "_static"
WRONG = "gru-2-shared"
WIDTH = 125
NUMBERS = dict(enumerate(["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"], 1))
ORDINALS = {2: "second", 3: "third"}


def title(arm: str) -> str:
    """Return the name of an arm in tables.

    >>> title("gru-2"), title("gru-2-shared")
    ('GRU × 2', 'GRU × 2, one state')
    """
    kind, layers, *shared = arm.split("-")
    return f"{kind.upper()} × {layers}{', one state' if shared else ''}"


def counted(number: int, noun: str) -> str:
    """Return a number and its noun in words.

    >>> counted(3, "pass"), counted(1, "pass"), counted(7, "seed")
    ('three passes', 'one pass', 'seven seeds')
    """
    plural = noun if number == 1 else f"{noun}{'es' if noun.endswith('s') else 's'}"
    return f"{NUMBERS.get(number, number)} {plural}"


def paragraph(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose first column holds words and whose others hold numbers."""
    kept = ([row[0].replace(" × ", "\u00a0×\u00a0"), *row[1:]] for row in rows)  # names stay on one line
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *kept]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def signed(value: float) -> str:
    """Return a difference with three decimals, and a minus that is one.

    >>> signed(-0.0214), signed(0.0), signed(0.01)
    ('−0.021', '0.000', '+0.010')
    """
    rounded = round(value, 3)
    return phrasing.signed(rounded, "+.3f") if rounded else "0.000"


def interval(low: float, high: float) -> str:
    return f"{signed(low)} to {signed(high)}"


def bound(answer: Answer) -> float:
    """Return the smallest difference that the answer leaves out, rounded up to three decimals."""
    return math.ceil(1000 * max(-answer.together[0], answer.together[1]) - 1e-9) / 1000


def deeper(answer: Answer) -> str:
    kind, layers, *_ = answer.deep.split("-")
    return f"a {ORDINALS[int(layers)]} {kind.upper()} layer"


def change(answer: Answer) -> str:
    """Return what a deeper stack does to the loss, as a clause whose subject is the deeper layer."""
    verb = {"helps": "lowers", "hurts": "raises"}.get(answer.verdict, "changes")
    by = signed(answer.difference) if verb == "changes" else f"{abs(answer.difference):.3f}"
    return f"{deeper(answer)} {verb} it by {by} (95 % interval {interval(answer.low, answer.high)})"


def headline(found: Sequence[Answer]) -> str:
    """Return the answer of all comparisons in a few words."""
    helped = sum(answer.verdict == "helps" for answer in found)
    if not helped:
        return "No added layer was found to help"
    return "Each added layer helped" if helped == len(found) else "Some added layers helped and others did not"


def said(answer: Answer) -> str:
    """Return the verdict of a comparison in a sentence, and how many seeds would settle it."""
    subject = f"{deeper(answer)[0].upper()}{deeper(answer)[1:]}"
    if answer.verdict in {"helps", "hurts"}:
        return f"{subject} {answer.verdict}."
    if answer.verdict == "no difference":
        return f"{subject} makes no difference larger than {bound(answer):.3f}."
    seeds = (
        f"no number of seeds finds a difference of {MATTERS} on this text"
        if answer.more_seeds is None
        else f"about {counted(answer.more_seeds, 'more seed')} of each arm would find a difference of {MATTERS}"
    )
    return f"Whether {deeper(answer)} helps, the study cannot tell: {seeds}."


def summary(record: Mapping[str, Any], found: Sequence[Answer]) -> str:
    """Return the answer: its first sentence has the numbers, their intervals and what it is about."""
    first = found[0]
    passes = counted(record["recipe"]["epochs"], "pass")
    changes = [change(answer) for answer in found]
    changes[0] = changes[0].replace(" it by ", " the held-out loss by ").replace(" (95", " nats per character (95")
    sentences = [
        f"{headline(found)} in character models of {first.size:,} parameters, trained for {passes} over "
        f"tinyshakespeare: {_and(changes)}.",
        *(said(answer) for answer in found),
        f"Each arm has {counted(min(first.seeds), 'seed')}, all arms have the same number of parameters within 2 %, "
        "and the intervals are over seeds and text.",
    ]
    return paragraph(" ".join(sentences))


def losses(record: Mapping[str, Any], size: int) -> str:
    """Return the table of losses, an arm a row."""
    head = [
        "",
        "units",
        "parameters",
        "seeds",
        "mean loss",
        "SD of seeds",
        "lowest",
        "highest",
        "bits per char.",
        "training",
        "CPU s",
    ]
    return table(head, (_losses(record, arm, of_arm(record, arm, size)) for arm in ARMS))


def trained(run: Mapping[str, Any]) -> float:
    """Return the training loss of the epoch that was kept, with dropout."""
    return float(run["epochs"][run["kept_epoch"] - 1]["training_nats"])


def fitting(record: Mapping[str, Any], found: Sequence[Answer]) -> str:
    """Return whether the deeper stacks fit the training text less well, too."""
    size = found[0].size
    means = {arm: np.mean([trained(run) for run in of_arm(record, arm, size)]) for arm in ARMS}
    if all(means[answer.deep] > means[answer.shallow] for answer in found):
        return (
            "Each deeper stack has a higher training loss, too: it does not overfit, it fits less in the same "
            "number of steps."
        )
    return ""


def _losses(record: Mapping[str, Any], arm: str, runs: Sequence[Any]) -> list[str]:
    values = np.array([loss(run) for run in runs])
    return [
        title(arm),
        str(runs[0]["units"]),
        f"{runs[0]['parameters']:,}",
        str(len(runs)),
        f"{values.mean():.4f}",
        f"{values.std(ddof=1):.4f}" if len(runs) > 1 else "",
        f"{values.min():.4f}",
        f"{values.max():.4f}",
        f"{values.mean() / math.log(2):.3f}",
        f"{np.mean([trained(run) for run in runs]):.3f}",
        f"{record['machine']['seconds_by_arm'][arm]:.0f}",
    ]


def differences(found: Sequence[Answer]) -> str:
    """Return the table of comparisons, deeper − shallower."""
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
    return table(head, (_difference(answer) for answer in found))


def _difference(answer: Answer) -> list[str]:
    reach = float(stdtrit(answer.df, 0.975))
    said = f"no difference larger than {bound(answer):.3f}" if answer.verdict == "no difference" else answer.verdict
    return [
        f"{title(answer.deep)} − {title(answer.shallow)}",
        signed(answer.difference),
        interval(answer.low, answer.high),
        f"{reach * answer.se_seeds:.3f}",
        f"{reach * answer.se_text:.3f}",
        f"{answer.p:.1g}" if answer.p < 0.001 else f"{answer.p:.3f}",
        f"{answer.level:.3f}",
        f"**{said}**",
    ]


def drift_note(found: Sequence[Answer]) -> str:
    """Return the warning of drift where one of the differences drifts along the text."""
    drifting = [f"{title(a.deep)} − {title(a.shallow)} ({a.drift:.2f})" for a in found if a.drift > DRIFT_LIMIT]
    if not drifting:
        ratios = ", ".join(f"{answer.drift:.2f}" for answer in found)
        return paragraph(
            "The differences do not drift along the text: the ratio of the standard error from 16 long batches to "
            f"that from blocks of 256 characters is {ratios}, and {DRIFT_LIMIT} is the limit of rnneval's warning "
            "`drift`."
        )
    return paragraph(
        f"Warning: a difference drifts along the text (ratio of standard errors above {DRIFT_LIMIT}): "
        f"{', '.join(drifting)}. Its interval holds for this passage, and not for all of Shakespeare."
    )


def wrong_stack(record: Mapping[str, Any], size: int) -> str:
    """Return the section about the stack whose layers exchange their states."""
    wrong, right = of_arm(record, WRONG, size), of_arm(record, "gru-2", size)
    rules = ", ".join(f"`{rule}`" for rule in record["wiring"][WRONG]["rules"])

    def mean(runs: Sequence[Any], of: Any) -> str:
        values = [of(run) for run in runs]
        return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"

    def last(key: str) -> Any:
        return lambda run: run["epochs"][run["kept_epoch"] - 1][key]

    def without_leak(run: Mapping[str, Any]) -> float:
        nats = run["token_by_token_nats"]
        return loss(run) if nats is None else nats / run["tokens"]

    rows = [
        (name, mean(wrong, of), mean(right, of))
        for name, of in (
            ("training loss, with dropout", trained),
            (f"validation loss, segments of {record['recipe']['segment']}", last("validation_nats")),
            ("held out, as the model computes it", loss),
            ("held out, with the leak removed (token by token)", without_leak),
        )
    ]
    cost = np.mean([without_leak(run) for run in wrong]) - np.mean([loss(run) for run in right])
    head = ["mean over seeds (lowest to highest)", title(WRONG), title("gru-2")]
    return "\n\n".join(
        [
            "## The stack in the question",
            paragraph(
                "The stack of [](origin.md) hands the state of its first layer to the second. `rnneval.check` "
                f"refuses it before the training ({rules}). It was trained all the same, with the width of "
                f"{title('gru-2')}."
            ),
            table(head, rows),
            paragraph(
                "Held out, it is reported in segments of 100 characters, in which the second layer knows the end of "
                f"the segment. With the leak removed it is worse than the right stack by {cost:.2f} nats per "
                "character. The record of rnneval is not valid, and has both numbers."
            ),
        ]
    )


def inside(record: Mapping[str, Any], size: int) -> str:
    """Return the table of what goes on inside one model of each arm."""
    found = {arm: record["inside"].get(f"{arm}-{size}-seed0") for arm in ARMS}
    head = [
        "",
        "forgetting length",
        "context for 0.02 nats",
        "saturated h",
        "gradient gone after",
        "median gradient norm",
        "clipped steps",
    ]
    return table(head, (_inside(record, arm, size, seen) for arm, seen in found.items() if seen))


def _inside(record: Mapping[str, Any], arm: str, size: int, seen: Mapping[str, Any]) -> list[str]:
    run = of_arm(record, arm, size)[0]
    context = seen["context"]
    enough = [
        length
        for length, nats in zip(context["lengths"], context["nats"], strict=True)
        if nats - context["whole"] <= MATTERS
    ]
    saturated = [100 * share for name, share in run["saturated"].items() if name.endswith(".h")]
    gone = [reach["gone"] for name, reach in seen["through_time"].items() if name.endswith(".h")]
    gradients = run["gradients"]
    return [
        title(arm),
        f"{run['forgetting_length']['median']:.0f}",
        f"{enough[0]}" if enough else f"more than {context['lengths'][-1]}",
        " / ".join(f"{share:.1f} %" for share in saturated),
        " / ".join("not in 200" if lag is None else str(lag) for lag in gone),
        f"{gradients['median']:.2f}",
        f"{100 * gradients['clipped_share']:.1f} %",
    ]


def counting(record: Mapping[str, Any], size: int) -> str:
    """Return the sentences about n-grams."""
    baselines = record["baselines"]
    orders = {name: nats for name, nats in baselines.items() if name.startswith("ngram")}
    best = min(orders, key=lambda name: orders[name])
    means = [np.mean([loss(run) for run in of_arm(record, arm, size)]) for arm in ARMS]
    better = sum(mean < orders[best] for mean in means)
    judged = (
        "No arm is [better than counting](number.md#better-than-counting): the models are small, and the training "
        "is short."
        if not better
        else f"Of the {len(means)} arms, {better} are [better than counting](number.md#better-than-counting)."
    )
    return (
        f"The best n-gram of the same training text ({best.removeprefix('ngram-')} characters, modified Kneser–Ney) "
        f"has {orders[best]:.3f} nats, a unigram {baselines['unigram']:.3f}, and a uniform guess "
        f"{baselines['uniform']:.3f}. {judged}"
    )


def calibration(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the section about simulated studies."""
    found = record["calibration"]
    spreads, rows, splits = found["spreads"], found["rows"], found["splits"]
    yield "## How often such answers are wrong"
    yield paragraph(
        f"{found['studies']:,} studies of the same three comparisons were simulated for each row, with the spreads "
        f"that this study measured: seeds {spreads['seed']:.4f} nats per character, seed × passage "
        f"{spreads['seed_text']:.4f}, arm × passage {spreads['arm_text']:.4f} (8 passages). *False answers* are "
        "studies without any true difference in which at least one of the three comparisons says `helps` or "
        f"`hurts`. *False “no difference”* is for a true difference of {MATTERS} in one comparison. Power is the "
        "share of studies that find a true difference in one comparison. All are in per cent."
    )
    head = ["seeds, text", "false answers", "false “no difference”", *(f"power, {e}" for e in rows[0]["power"])]
    yield table(
        head,
        (
            [
                f"{row['seeds']}, {row['text']}",
                f"{row['false_answers']:.1f}",
                f"{row['false_no_difference']:.1f}",
                *(f"{share:.0f}" for share in row["power"].values()),
            ]
            for row in rows
        ),
    )
    worst = max(row["false_answers"] for row in rows if "correlated" not in row["text"])
    correlated = max(row["false_answers"] for row in rows if "correlated" in row["text"])
    few = next(row["equal_no_difference"] for row in rows if (row["seeds"], row["text"]) == (5, "same recipe"))
    yield paragraph(
        f"At most {worst:.1f} % of the studies of independent passages are false, where 5 % is stated. If "
        f"neighbouring passages are correlated, up to {correlated:.1f} % are: the interval counts the eight passages "
        f"as independent. With five seeds, two arms of the same recipe get the answer `no difference` in {few:.0f} % "
        "of the studies, so `cannot tell` is the usual answer for equal arms. With the real runs, two seeds of an "
        f"arm were compared with the other seeds of the same arm, in every way: {splits['outside']} of "
        f"{splits['comparisons']} intervals of 95 % left out 0. These comparisons share their runs and their text, "
        "so this is one look and no rate."
    )


def recipe(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the section about the training, and about what the answer leaves open."""
    how, made, machine = record["recipe"], record["model"], record["machine"]
    starts = machine["starts"]
    yield "## The study"
    yield paragraph(
        f"The first {100 * how['train_share']:.0f} % of tinyshakespeare are the training text, of which the last "
        f"{100 * how['validation_share']:.0f} % are for early stopping; the last "
        f"{record['held_out']['characters']:,} characters are held out. Each model is an embedding of "
        f"{made['embedding']}, recurrent layers of equal width and a dense layer, with a dropout of {made['dropout']} "
        "after each recurrent layer. All arms have "
        f"one recipe: {how['rows']} rows, segments of {how['segment']} characters, the [state](glossary.md#state) "
        f"carried from segment to segment, Adam with a peak learning rate of {how['learning_rate']} after "
        f"{how['warmup_steps']} steps and half a cosine down to 0, gradients clipped to a global norm of "
        f"{how['clipnorm']:.0f}, {counted(how['epochs'], 'epoch')}, early stopping after "
        f"{counted(how['patience'], 'epoch')} without a better validation loss. Nothing was tuned; shorter trials of "
        "one or two arms (3 to 5 epochs) were stopped when the machine had time for more epochs. The wiring of each "
        "arm was checked before the training; the held-out text was evaluated by `rnneval.evaluate`, with the state "
        "carried."
    )
    yield paragraph(
        f"The {len(record['runs'])} runs took {machine['hours_of_runs']:.1f} hours of runs of one thread, two at a "
        f"time, on {machine['cores']} cores that other work shared ({machine['processor_hours']:.1f} processor "
        f"hours). The study lasted from {starts[0]['at']} to {machine['ended']}, and was started "
        f"{counted(len(starts), 'time')}: it was killed with `kill -9` after "
        f"{_and([str(start['complete']) for start in starts[1:]])} complete runs, and started again."
        if len(starts) > 1
        else f"The {len(record['runs'])} runs took {machine['hours_of_runs']:.1f} hours of runs of one thread."
    )
    if machine["repeated"]:
        yield paragraph(
            f"To see whether a kill leaves a trace, {counted(len(machine['repeated']), 'run')} of the study "
            f"({_and([f'`{name}`' for name in machine['repeated']])}) were trained again without a kill, in another "
            "order. Their entries in the record are the same in every digit. A test kills a small study three "
            "times, and compares its table byte by byte with that of a study that was not killed."
        )
    yield "\n".join(
        [
            "What it leaves open:",
            "",
            *(
                textwrap.fill(f"- {each}", WIDTH, subsequent_indent="  ")
                for each in (
                    f"Longer training. {counted(how['epochs'], 'pass').capitalize()} over a million characters do "
                    "not bring a model to its best; deeper stacks may need more steps.",
                    "Other sizes. The time of the machine did not suffice for more than one."
                    if len(record["sizes"]) == 1
                    else "Other sizes than these.",
                    "Other learning rates and other dropout. Each depth may have a best of its own, and a deeper "
                    "stack has dropout in more places.",
                    "Equal time. A deeper stack of the same number of parameters takes longer for each step.",
                    "Other texts. The interval is over seeds and over passages of one text.",
                )
            ),
        ]
    )


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def page(record: Mapping[str, Any]) -> str:
    """Return docs/layers.md."""
    size = record["sizes"][0]
    found = answers(record, size)
    parts = [
        "# Do more layers help?",
        "<!-- Written by benchmarks/layers_page.py from benchmarks/layers.json: change those, not this file. -->",
        summary(record, found),
        "![Held-out loss of every seed by number of layers, with the interval of each mean](_static/layers-depth.svg)",
        "## Losses",
        paragraph(
            "Held-out loss in nats per character; the training loss with dropout, of the epoch that was kept; and "
            f"the processor seconds of a run. {counting(record, size)}"
        ),
        losses(record, size),
        paragraph(fitting(record, found)),
        "## Differences between neighbouring depths",
        paragraph(
            "Nats per character; below 0 the deeper stack is better. The interval has two parts, shown apart: the "
            "spread of the seeds of both arms, and the spread of their difference over eight passages of the "
            "held-out text, as in [](statistics.md). They add as squares. A comparison says `helps` or `hurts` if "
            f"its p-value is at most the level of Holm's procedure for all {len(found)} comparisons. It says `no "
            "difference larger than d` if its interval, widened to hold together with the others, lies within d, "
            f"and d is at most {MATTERS}. This limit was set before the training."
        ),
        differences(found),
        drift_note(found),
        wrong_stack(record, size),
        "## Inside the models",
        paragraph(
            "Seed 0 of each arm, so these are examples and no answers; numbers of several layers are separated by a "
            "slash. *Context for 0.02 nats* is the number of characters with which the loss is within 0.02 nats of "
            "that with the whole text; *gradient gone* is the lag at which 1 % of the gradient is left. "
            "[](inside.md) explains the others."
        ),
        inside(record, size),
        "![Training and validation loss by epoch, a panel for each arm and a line for each "
        "seed](_static/layers-training.svg)",
        *recipe(record),
        *calibration(record),
        "## Reproduce it",
        "```sh\nPYTHONPATH=. nice python benchmarks/layers.py --data tinyshakespeare.txt --out RUNS\nPYTHONPATH=. "
        "python benchmarks/layers_records.py --data tinyshakespeare.txt --runs RUNS --out "
        "benchmarks/layers.json\nPYTHONPATH=. python benchmarks/layers_answer.py "
        "benchmarks/layers.json\nPYTHONPATH=. python benchmarks/layers_page.py\n```",
        paragraph(
            "The first command trains what is missing in `RUNS`, also after a kill; the last one writes this page "
            "and its figures from the record alone."
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def fingerprint(record: Mapping[str, Any]) -> str:
    """Return a hash of the runs, which the figures carry to show what they were drawn from."""
    return hashlib.sha256(json.dumps(record["runs"], sort_keys=True).encode()).hexdigest()[:16]


def draw(record: Mapping[str, Any], folder: Path) -> None:
    """Draw both figures."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    import seaborn as sns

    sns.set_theme(style="whitegrid", rc={"svg.fonttype": "none", "svg.hashsalt": "rnneval", "font.size": 10})
    for name, drawn in (("layers-depth", _depth), ("layers-training", _training)):
        figure = drawn(record, record["sizes"][0])
        description = f"runs {fingerprint(record)}"
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Description": description})
        plt.close(figure)


def _depth(record: Mapping[str, Any], size: int) -> Any:
    """Draw the loss of every seed by depth, and the interval of each mean over the seeds."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    figure, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
    colours = dict(zip(("gru", "lstm"), sns.color_palette("colorblind", 2), strict=True))
    names = [arm for arm in ARMS if of_arm(record, arm, size)]
    for place, arm in enumerate(names):
        values = np.array([loss(run) for run in of_arm(record, arm, size)])
        colour = colours[arm.split("-")[0]]
        axes.plot(place + np.linspace(-0.12, 0.12, values.size), values, "o", color=colour, alpha=0.55, markersize=6)
        if values.size > 1:
            reach = stdtrit(values.size - 1, 0.975) * values.std(ddof=1) / math.sqrt(values.size)
            axes.errorbar(place + 0.25, values.mean(), reach, color=colour, fmt="D", markersize=5, capsize=4)
    axes.set_xticks(range(len(names)), [title(arm) for arm in names])
    axes.set_ylabel("held-out loss, nats per character")
    axes.set_xlim(-0.5, len(names) - 0.4)
    axes.grid(visible=False, axis="x")
    axes.set_title(f"Points: seeds. Diamond: mean and 95 % interval over seeds. {size:,} parameters", fontsize=10)
    return figure


def _training(record: Mapping[str, Any], size: int) -> Any:
    """Draw the validation loss by epoch, a panel for each arm and a line for each seed."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    names = [arm for arm in (*ARMS, WRONG) if of_arm(record, arm, size)]
    figure, panels = plt.subplots(2, 3, figsize=(8.5, 5), layout="constrained", sharex=True, sharey=True)
    training, validation = sns.color_palette("colorblind", 4)[2:]
    for axes, arm in zip(panels.flat, names, strict=False):
        for run in of_arm(record, arm, size):
            numbers = [epoch["epoch"] for epoch in run["epochs"]]
            for key, colour, name in (("training", training, "training"), ("validation", validation, "validation")):
                values = [epoch[f"{key}_nats"] for epoch in run["epochs"]]
                label = name if run["seed"] == 0 else None
                axes.plot(numbers, values, "o-", color=colour, alpha=0.6, markersize=3, linewidth=1, label=label)
        axes.set_title(title(arm), fontsize=10)
        axes.set_xticks(range(1, record["recipe"]["epochs"] + 1))
    panels.flat[0].legend(frameon=False, fontsize=9)
    figure.supxlabel("epoch", fontsize=10)
    figure.supylabel("loss, nats per character", fontsize=10)
    return figure


def main() -> None:
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    PAGE.write_text(page(record), encoding="utf-8")
    draw(record, FIGURES)
    for answer in answers(record, record["sizes"][0]):
        print(answer)


if __name__ == "__main__":
    main()
